"""Whatever becomes of the file, it opens: what can be read is kept, and what cannot is on record."""

import asyncio
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.errors import JournalDamaged, JournalError, JournalLocked
from listener.journal.sqlite import SqliteJournal, damage_marker, database, rows, salvage, views
from listener.journal.sqlite.damage import copy_readable
from listener.journal.sqlite.database import PAGE_BYTES
from listener.journal.sqlite.lock import FileLock
from listener.journal.sqlite.salvage import JUMP
from listener.model.event import DeadLetter, DeadLetterFilter, JournalBatch, LastValue, SessionState
from listener.testing import SAMPLE_MS, sample_event

EVENTS = 300
NAMES = ("journal.db", "journal.db-wal", "journal.db-shm")


def marked_event(number):
    """An event of a size of its own, with its number in every piece of its data, received a second after the last."""
    size = (40, 300, 900, 5_000, 9_000, 40_000)[number % 6]
    data = b'{"chatId":"chat-%d","key":"Code","disposition":"%d","note":"' % (number % 50, number)
    data += b"<%06d>" % number * (size // 8) + b'"}'
    return replace(sample_event(number, received_ms=SAMPLE_MS + number * 1000), data=data)


def value(number):
    return LastValue(
        chat_id=f"chat-{number % 50}",
        key="Code",
        value=str(number),
        account="agent1",
        server_time_ms=None,
        received_ms=SAMPLE_MS + number * 1000,
    )


SESSION = SessionState(
    account="agent1",
    url="http://127.0.0.1/",
    topic="/v2/me/chats",
    client_id="abc",
    connection_type="long-polling",
    ack=7,
    seen_ms=SAMPLE_MS + 7,
    cookies=(("JSESSIONID", "abc", "127.0.0.1", "/"),),
    clean=True,
)
LETTER = DeadLetter(sink="crm", sequence=20, event_id="event-20", reason="HTTP 422", attempts=1, at_ms=5)


class Files(dict):
    """The bytes of files by name; a counterexample shows how many."""

    def __repr__(self):
        return repr({name: len(content) for name, content in self.items()})


async def fill(path):
    """A journal with a retained head, checkpointed up to the middle; its files while it is open, and closed."""
    journal = SqliteJournal(path=path)
    await journal.open()
    for first in range(1, EVENTS, 10):
        numbers = range(first, first + 10)
        await journal.append(
            JournalBatch(
                events=tuple(map(marked_event, numbers)), values=tuple(map(value, numbers)), sessions=(SESSION,)
            )
        )
        if first == EVENTS // 2 + 1:
            await journal._change(lambda connection: None)
            await asyncio.get_running_loop().run_in_executor(
                None, lambda: journal._part.store.read.execute("SELECT 1").fetchall()
            )
            journal._part.store.write.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    await journal.advance("crm", 120, [LETTER])
    await journal.retain(before_ms=SAMPLE_MS + 30_500, keep_for=("crm",))
    killed = {name: path.with_name(name).read_bytes() for name in NAMES if path.with_name(name).exists()}
    await journal.close()
    return Files(killed), Files({"journal.db": path.read_bytes()})


@pytest.fixture(scope="module")
def journals(tmp_path_factory):
    """The files of one journal: of a process that was killed, and of one that closed it."""
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    return asyncio.run(fill(path))


def place(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "journal.db"


def numbers_in(content):
    return {int(number) for number in re.findall(rb"<(\d{6})>", content)}


def pages_of(content):
    return [content[at : at + PAGE_BYTES] for at in range(0, len(content), PAGE_BYTES)]


def commits_of(content):
    """The header of the log, and its commits: frames up to one that names the size of the database."""
    parts = [content[:32], b""]
    for at in range(32, len(content), PAGE_BYTES + 24):
        frame = content[at : at + PAGE_BYTES + 24]
        parts[-1] += frame
        if frame[4:8] != bytes(4):
            parts.append(b"")
    return parts


def touched(before, after):
    """The numbers of the events that have bytes in a page, or in a commit of the log, that is not as it was."""
    numbers = set()
    for name, split in (("journal.db", pages_of), ("journal.db-wal", commits_of)):
        changed, at = after.get(name, b""), 0
        for part in split(before.get(name, b"")):
            if changed[at : at + len(part)] != part:
                numbers |= numbers_in(part)
            at += len(part)
    return numbers


async def reopened(path):
    """What the journal holds after an open, and the sequence that its next event gets."""
    journal = SqliteJournal(path=path)
    await journal.open()
    found = {
        "events": list(await journal.read(0, 100_000)),
        "last": journal.last_sequence,
        "damages": await journal.pending_damages(),
        "sessions": await journal.sessions(),
        "cursors": await journal.cursors(),
        "letters": await journal.dead_letters(),
        "replays": await journal.replay_dead_letters(DeadLetterFilter()),
        "stats": await journal.stats(),
        "values": await journal.last_values([f"chat-{n}" for n in range(50)]),
        "next": await journal.append(JournalBatch(events=(sample_event(1),))),
    }
    await journal.close()
    return found


OFFSETS = st.integers(0, 2**31)
OPERATIONS = st.one_of(
    st.tuples(st.just("zero"), OFFSETS, st.just(PAGE_BYTES)),
    st.tuples(st.just("zero"), OFFSETS, st.just(PAGE_BYTES // 2)),
    st.tuples(st.just("flip"), OFFSETS, st.integers(1, 255)),
    st.tuples(st.just("write"), OFFSETS, st.binary(min_size=1, max_size=200)),
    st.tuples(st.just("truncate"), OFFSETS, st.none()),
    st.tuples(st.just("header"), st.integers(0, 150), st.binary(min_size=1, max_size=100)),
)


def damaged(content, operation):
    """The content after an operation; pages are hit at their start or in their middle."""
    what, at, more = operation
    changed = bytearray(content)
    at %= max(len(content), 1)
    if what == "truncate":
        del changed[at or 1 :]  # an empty file is a new journal
    elif what == "zero":
        at = at // more * more
        changed[at : at + more] = bytes(len(changed[at : at + more]))
    elif what == "flip":
        changed[at] ^= more
    else:
        part = changed[at : at + len(more)]
        changed[at : at + len(more)] = more[: len(part)]
    return bytes(changed)


FOREIGN = ("newer than this program's", "this SQLite file is no journal")


def check(folder, before, after):
    """The promises, for one damage."""
    path = place(folder, after)
    originals = {n: replace(marked_event(n), sequence=n) for n in range(1, EVENTS + 1)}
    try:
        found = asyncio.run(reopened(path))
    except JournalError as exc:
        if not any(word in str(exc) for word in FOREIGN):  # a version or a name can be another's
            raise
        return
    kept = {event.sequence: event for event in found["events"]}
    assert [event.sequence for event in found["events"]] == sorted(kept)
    untouched = set(range(31, EVENTS + 1)) - touched(before, after)
    assert untouched <= kept.keys()
    assert all(event == originals[n] for n, event in kept.items())
    assert (found["last"], found["next"]) >= (EVENTS, found["last"] + 1)
    assert found["stats"].events == len(kept)
    assert [fault for fault in views.verify(path) if "cursor" not in fault and "dead letter" not in fault] == []
    missing = set(range(31, EVENTS + 1)) - kept.keys()
    if missing:
        (one,) = found["damages"]
        assert (one.kept, len(one.stretches) <= 16) == (len(kept), True)
        assert path.with_name(one.set_aside).read_bytes() == after["journal.db"]
        between = [n for n in missing if kept and n > min(kept)]
        assert all(any(start <= received(n) <= end for start, end in one.stretches) for n in between)
        assert len(between) == len(missing) or any(end >= received(min(kept, default=0)) for _, end in one.stretches)


def received(number):
    return SAMPLE_MS + number * 1000


@settings(max_examples=25)
@given(operations=st.lists(OPERATIONS, min_size=1, max_size=3))
@example(operations=[("flip", 6767, 128)])  # the message about the schema is no text
@example(operations=[("write", 60, b"\x80")])  # a negative schema version
@example(operations=[("flip", 68, 1), ("write", 43, b"\0\0\0\0\5")])  # another program's, for a newer SQLite
@example(operations=[("write", 43, b"\0\0\0\0\5"), ("truncate", 48, None)])  # cut off before it says whose it is
def test_a_damaged_file_opens_and_keeps_what_is_readable(journals, tmp_path_factory, operations):
    _, before = journals
    after = before["journal.db"]
    for operation in operations:
        after = damaged(after, operation)
    check(tmp_path_factory.mktemp("case"), before, {"journal.db": after})


@settings(max_examples=25)
@given(operations=st.lists(OPERATIONS, min_size=1, max_size=2), name=st.sampled_from(NAMES))
def test_a_damaged_log_or_file_of_a_killed_process_opens_too(journals, tmp_path_factory, operations, name):
    before, _ = journals
    after = dict(before)
    for operation in operations:
        after[name] = damaged(after[name], operation)
    if name == "journal.db-wal":
        folder = tmp_path_factory.mktemp("case")
        assert open_and_count(place(folder, after)) >= numbers_in(before["journal.db"]) - set(range(31))
        shutil.rmtree(folder)
    check(tmp_path_factory.mktemp("case"), before, after)


def open_and_count(path):
    return {event.sequence for event in asyncio.run(reopened(path))["events"]}


def with_page(content, number, page=bytes(PAGE_BYTES)):
    return content[: number * PAGE_BYTES] + page + content[(number + 1) * PAGE_BYTES :]


def page_of(content, *numbers):
    """Where a page lies that holds something of each of these events."""
    return next(at for at, page in enumerate(pages_of(content)) if numbers_in(page) >= set(numbers))


@pytest.fixture
def closed(journals, tmp_path):
    """The journal at rest, with the pages that are named overwritten."""
    content = journals[1]["journal.db"]

    def build(*pages):
        changed = content
        for number in pages:
            changed = with_page(changed, number)
        return place(tmp_path, {"journal.db": changed})

    build.content = content
    return build


def everything_but_events(found):
    return {key: found[key] for key in ("sessions", "cursors", "letters", "replays")}


async def test_a_hole_in_the_middle_costs_what_is_in_it_and_names_its_stretch(closed):
    path = closed(page_of(closed.content, 98, 99))
    with structlog.testing.capture_logs() as logs:
        found = await reopened(path)
    kept = [event.sequence for event in found["events"]]
    missing = sorted(set(range(31, EVENTS + 1)) - set(kept))
    assert missing == list(range(missing[0], missing[-1] + 1))
    (one,) = found["damages"]
    assert one.stretches == ((received(missing[0] - 1), received(missing[-1] + 1)),)
    assert found["last"] == EVENTS
    assert everything_but_events(found) == {
        "sessions": {"agent1": replace(SESSION, clean=False)},
        "cursors": {"crm": 120},
        "letters": [LETTER],
        "replays": 1,
    }
    assert sorted(one.value for one in found["values"]) == sorted(str(n) for n in range(251, 301))
    (line,) = [line for line in logs if line["event"] == "journal_damaged"]
    assert (line["set_aside"], line["kept"]) == (str(path.with_name(one.set_aside)), len(kept))


async def test_a_repaired_journal_is_repaired_once_and_its_damage_stays_pending(closed):
    path = closed(page_of(closed.content, 98, 99))
    first = await reopened(path)
    second = await reopened(path)
    assert second["damages"] == first["damages"]
    assert second["events"][:-1] == first["events"]
    assert len(list(path.parent.glob("journal.db.damaged-*"))) == 1
    assert views.verify(path) == []


async def test_a_second_damage_does_not_report_the_first_again(closed):
    path = closed(page_of(closed.content, 98, 99))
    await reopened(path)
    content = path.read_bytes()
    path.write_bytes(with_page(content, page_of(content, 203, 204)))
    first, second = (await reopened(path))["damages"]
    assert len(first.stretches) == len(second.stretches) == 1
    assert first.stretches[0][1] < second.stretches[0][0]
    assert views.verify(path) == []


@pytest.mark.parametrize("kept_bytes", [0, 100], ids=["page", "header"])
async def test_without_its_first_page_nothing_is_lost(closed, kept_bytes):
    path = closed()
    lost = closed.content[100:] if kept_bytes else closed.content[PAGE_BYTES:]
    path.write_bytes(bytes(len(closed.content) - len(lost)) + lost)
    found = await reopened(path)
    assert [event.sequence for event in found["events"]] == list(range(31, EVENTS + 1))
    assert found["cursors"] == {"crm": 120}
    assert found["damages"][0].stretches == ()
    assert found["last"] == EVENTS


async def test_a_torn_end_jumps_over_what_a_sink_may_have_seen(closed):
    path = closed()
    path.write_bytes(closed.content[: page_of(closed.content, 250) * PAGE_BYTES - 100])
    found = await reopened(path)
    last = found["events"][-1].sequence
    assert found["last"] >= last + JUMP
    assert found["cursors"] == {"crm": 120}
    start, end = found["damages"][0].stretches[-1]
    assert start <= received(last) < end == found["damages"][0].at_ms
    assert views.verify(path) == []


async def test_garbage_is_set_aside_and_never_deleted(tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database, " * 500)
    found = await reopened(path)
    (one,) = found["damages"]
    assert path.with_name(one.set_aside).read_bytes() == b"not a database, " * 500
    assert found["events"] == []
    assert found["last"] == one.at_ms
    assert one.stretches == ((one.at_ms, one.at_ms),)


async def repaired_on_a_bad_disk(path, *, readable):
    """Repair in a process of its own, for which the disk gives nothing of the file except in pieces of 4 KiB.

    `readable` says which of those fail, in the words of strace.
    """
    whole = "inject=read,pread64,sendfile,copy_file_range:error=EIO"
    strace = ["strace", "-o", "/dev/null", "-P", path, "-e", whole, "-e", f"inject=preadv,preadv2:error=EIO:{readable}"]
    command = [*strace, sys.executable, "-c", REPAIR, path]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("piece", [0, 1, 120, -1], ids=["first", "second", "middle", "last"])
async def test_what_the_disk_does_not_give_costs_what_zeros_there_would(closed, tmp_path, piece):
    piece = range(len(closed.content) // 4096)[piece]
    path = closed()
    done = await repaired_on_a_bad_disk(path, readable=f"when={piece + 1}")
    assert done.returncode == 0, done.stderr
    assert "journal_sectors_unreadable" in done.stdout + done.stderr
    zeroed = bytearray(closed.content)
    zeroed[piece * 4096 : (piece + 1) * 4096] = bytes(4096)
    (tmp_path / "zeroed").mkdir()
    expected = await reopened(place(tmp_path / "zeroed", {"journal.db": bytes(zeroed)}))
    found = await reopened(path)
    assert found["events"] == expected["events"]
    assert [damage.kept for damage in found["damages"]] == [damage.kept for damage in expected["damages"]]
    assert (path.with_name(found["damages"][0].set_aside)).read_bytes() == closed.content
    assert not list(path.parent.glob("*.part*"))


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_a_disk_that_gives_nothing_is_no_damage(closed):
    """It may come back, with all that is on it."""
    path = closed()
    done = await repaired_on_a_bad_disk(path, readable="when=1+")
    assert "Input/output error" in done.stderr
    assert [file.name for file in path.parent.iterdir()] == ["journal.db"]
    found = await reopened(path)
    assert (found["damages"], len(found["events"])) == ([], EVENTS - 30)


async def test_a_log_that_was_not_given_whole_may_have_held_later_events(journals, tmp_path):
    path = place(tmp_path, journals[0])
    whole = salvage.rebuild(path, tmp_path / "one", at_ms=SAMPLE_MS + 10**9, set_aside="x")
    cut = salvage.rebuild(path, tmp_path / "other", at_ms=SAMPLE_MS + 10**9, set_aside="x", log_is_whole=False)
    assert whole.damage.stretches == ()
    assert cut.damage.stretches == ((received(EVENTS), SAMPLE_MS + 10**9),)


async def test_a_log_without_its_file_is_kept(journals, tmp_path):
    files = {name: content for name, content in journals[0].items() if name != "journal.db"}
    path = place(tmp_path, files)
    found = await reopened(path)
    assert EVENTS in {event.sequence for event in found["events"]}
    assert path.with_name(f"{found['damages'][0].set_aside}-wal").read_bytes() == files["journal.db-wal"]


async def test_a_log_that_lost_commits_is_damage_and_one_that_a_crash_cut_is_not(journals, tmp_path):
    killed, _ = journals
    log = killed["journal.db-wal"]
    (tmp_path / "whole").mkdir()
    found = await reopened(place(tmp_path / "whole", killed))
    assert (found["damages"], found["last"]) == ([], EVENTS)
    (tmp_path / "cut").mkdir()
    cut = await reopened(place(tmp_path / "cut", {**killed, "journal.db-wal": log[: len(log) // 2]}))
    assert cut["damages"]
    (tmp_path / "power").mkdir()
    power = {"journal.db": killed["journal.db"], "journal.db-wal": log[: len(log) - 5000]}
    assert (await reopened(place(tmp_path / "power", power)))["damages"] == []


async def test_values_that_cannot_be_read_come_from_the_events(closed):
    path = closed(2)
    found = await reopened(path)
    assert sorted(one.value for one in found["values"]) == sorted(str(n) for n in range(251, 301))
    assert len(found["events"]) == EVENTS - 30


async def test_a_cursor_that_cannot_be_read_is_none(closed):
    path = closed(4)
    found = await reopened(path)
    assert found["cursors"] == {}
    assert len(found["events"]) == EVENTS - 30


async def test_a_column_whose_name_was_hit_costs_the_rows_of_its_table(closed, tmp_path):
    column = b"account         TEXT NOT NULL PRIMARY KEY"
    assert closed.content.count(column) == 1
    changed = closed.content.replace(column, b"z" + column[1:])
    found = await reopened(place(tmp_path, {"journal.db": changed}))
    assert (len(found["damages"]), found["sessions"], len(found["events"])) == (1, {}, EVENTS - 30)
    assert found["cursors"]


async def test_a_damaged_journal_of_an_older_version_is_salvaged_too(tmp_path):
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        old.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        database._run(old, database.migrations()[0], 1)
        old.execute("PRAGMA journal_mode = WAL")
        events = [replace(marked_event(n), sequence=n) for n in range(1, 101)]
        flat = rows.event_parameters(events)
        for start in range(0, len(flat), 13):
            old.execute(f"INSERT INTO event VALUES ({', '.join('?' * 12)})", flat[start : start + 12])  # noqa: S608 - only marks
    content = path.read_bytes()
    path.write_bytes(with_page(content, page_of(content, 49, 50)))
    found = await reopened(path)
    kept = {event.sequence: event for event in found["events"]}
    assert 80 < len(kept) < 100
    assert all(event == events[n - 1] for n, event in kept.items())
    assert views.verify(path) == []


async def test_another_process_is_refused_before_anything_is_touched(closed):
    path = closed(page_of(closed.content, 98, 99))
    lock = FileLock.acquire(path)
    before = sorted(file.name for file in path.parent.iterdir())
    with pytest.raises(JournalLocked):
        await SqliteJournal(path=path).open()
    assert sorted(file.name for file in path.parent.iterdir()) == before
    lock.release()


REPAIR = """
import sys
from pathlib import Path
from listener.journal.sqlite.damage import repair
repair(Path(sys.argv[1]), 0)
"""
POINTS = [(call, number) for call in ("rename", "fsync") for number in range(1, 5)]


def killed_at(path, call, number):
    """Repair in a process that is killed at a system call on the journal's files, before that has an effect."""
    files = [path.parent, *(f"{path}{suffix}" for suffix in ("", "-wal", "-shm", ".part", ".repaired"))]
    watched = [part for file in files for part in ("-P", file)]
    fault = ("-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}")
    command = ["strace", "-f", "-o", "/dev/null", *watched, *fault, sys.executable, "-c", REPAIR, path]
    return subprocess.run(command, check=False, timeout=60, capture_output=True).returncode


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(("call", "number"), POINTS)
async def test_a_repair_that_is_killed_is_finished_by_the_next_open(journals, tmp_path, call, number):
    content = journals[0]["journal.db"]
    torn = with_page(content, page_of(content, 98, 99))
    path = place(tmp_path, {**journals[0], "journal.db": torn})
    assert killed_at(path, call, number) != 0
    found = await reopened(path)
    assert len(found["damages"]) == 1
    assert {event.sequence for event in found["events"]} > set(range(101, EVENTS + 1))
    aside = found["damages"][0].set_aside
    assert path.with_name(aside).read_bytes() == torn
    names = {file.name for file in tmp_path.iterdir()}
    assert names <= {"journal.db", "journal.db.lock", aside, f"{aside}-wal", f"{aside}-shm"}
    assert f"{aside}-wal" in names
    assert views.verify(path) == []


async def test_what_a_running_journal_cannot_read_is_noted_and_repaired_by_the_next_open(closed, tmp_path):
    path = closed()
    journal = SqliteJournal(path=path)
    await journal.open()
    at = page_of(closed.content, 98, 99)
    with path.open("r+b") as file:
        file.seek(at * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))
    with pytest.raises(JournalDamaged, match=r"journal\.db: "):
        await journal.read(31, 1000)
    assert damage_marker.exists(path)
    await journal.close()
    found = await reopened(path)
    assert found["damages"]
    assert not damage_marker.exists(path)


async def test_a_note_about_a_sound_journal_is_taken_away(closed):
    path = closed()
    damage_marker.leave(path, "something")
    assert (await reopened(path))["damages"] == []
    assert not damage_marker.exists(path)


async def test_no_room_for_the_repair_leaves_everything_as_it_was(closed, monkeypatch):
    path = closed(page_of(closed.content, 98, 99))
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    def no_room(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("listener.journal.sqlite.salvage.sync_path", no_room)
    with pytest.raises(JournalError, match="No space left"):
        await SqliteJournal(path=path).open()
    monkeypatch.undo()
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith(".lock")}
    assert after == before
    assert (await reopened(path))["damages"]


@pytest.mark.parametrize("size", [0, 1, 4096, 10_000])
def test_what_can_be_read_is_copied_as_it_is(tmp_path, size):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 40)
    with (tmp_path / "file").open("r+b") as file:
        file.truncate(size)
    assert copy_readable(tmp_path / "file", tmp_path / "copy") == 0
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "file").read_bytes()
