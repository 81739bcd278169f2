"""What only the journal on a file can promise: crashes, other processes, full disks, bounded files."""

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import closing

import pytest

from listener.errors import JournalError, JournalLocked
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.database import WAL_LIMIT_BYTES
from listener.journal.sqlite.journal import size_bytes
from listener.journal.tail import Tail
from listener.model.event import EVERY_DEAD_LETTER, DeadLetter, JournalBatch, LastValue
from listener.model.filter import EventFilter
from listener.testing import SAMPLE_MS, sample_event
from support.eventually import eventually
from support.plans import GROWING


def batch(*numbers, data_bytes=0):
    return JournalBatch(events=tuple(sample_event(number, data_bytes=data_bytes) for number in numbers))


def child(program, *arguments, prefix=()):
    """A Python process of its own that runs `program`."""
    command = [*prefix, sys.executable, "-u", "-c", textwrap.dedent(program), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


APPENDER = """
    import asyncio, os, sys
    from pathlib import Path
    from listener.journal.sqlite import SqliteJournal
    from listener.model.event import JournalBatch
    from listener.testing import sample_event

    async def appender(journal, first):
        for number in range(first, first + 100_000, 3):
            numbers = range(number, number + 3)
            await journal.append(JournalBatch(events=tuple(sample_event(n, data_bytes=600) for n in numbers)))
            os.write(1, b"%d\\n" % number)

    async def main():
        journal = SqliteJournal(path=Path(sys.argv[1]))
        await journal.open()
        first = int(sys.argv[2])
        await asyncio.gather(*(appender(journal, first + n * 100_000) for n in range(4)))

    asyncio.run(main())
"""


def numbers_in(text):
    """The whole lines that are acknowledgements, not log."""
    return [int(line) for line in text.split("\n")[:-1] if line.isdigit()]


def acknowledged_before_kill(path, first, lines):
    """Kill an appending process after `lines` acknowledgements; everything that it acknowledged until its death."""
    process = child(APPENDER, path, first)
    heard = []
    while len(heard) < lines:
        line = process.stdout.readline()
        assert line, "the process ended by itself"
        heard += numbers_in(line)
    process.kill()
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    heard += numbers_in(rest)
    return {number + offset for number in heard for offset in range(3)}


async def test_nothing_acknowledged_is_missing_after_kill_9(path):
    acknowledged = set()
    for number, lines in enumerate((20, 75, 400)):
        acknowledged |= acknowledged_before_kill(path, number * 1_000_000, lines)
        journal = SqliteJournal(path=path)
        await journal.open()
        events = await journal.read(0, 1_000_000)
        await journal.close()
        stored = [int(event.id.removeprefix("event-")) for event in events]
        assert acknowledged <= set(stored)
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert all(stored[n + 1 : n + 3] == [stored[n] + 1, stored[n] + 2] for n in range(0, len(stored), 3))


HOLDER = """
    import asyncio, sys
    from pathlib import Path
    from listener.journal.sqlite import SqliteJournal

    async def main():
        await SqliteJournal(path=Path(sys.argv[1])).open()
        print("open", flush=True)
        await asyncio.sleep(600)

    asyncio.run(main())
"""


async def test_a_second_process_is_refused_until_the_owner_is_dead(path):
    owner = child(HOLDER, path)
    while "open" not in owner.stdout.readline():
        assert owner.poll() is None
    second = SqliteJournal(path=path)
    with pytest.raises(JournalLocked, match=rf"journal\.path: .*journal\.db .*\(pid {owner.pid}\)"):
        await second.open()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    await second.open()
    await second.close()


FILLER = """
    import asyncio, sys
    from pathlib import Path
    from listener.errors import JournalFull
    from listener.journal.sqlite import SqliteJournal
    from listener.model.event import JournalBatch
    from listener.testing import sample_event

    BATCH = JournalBatch(events=tuple(sample_event(n, data_bytes=600) for n in range(100)))

    async def fill(journal):
        while True:
            await journal.append(BATCH)

    async def main():
        folder = Path(sys.argv[1])
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(2**20))
        journal = SqliteJournal(path=folder / "journal.db")
        await journal.open()
        refusals = await asyncio.gather(*(fill(journal) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(refusal, JournalFull) for refusal in refusals), refusals
        assert str(folder) in str(refusals[0])
        full_at = journal.last_sequence
        assert full_at % 100 == 0 and full_at > 0
        assert len(await journal.read(0, 100_000)) == full_at
        ballast.unlink()
        assert await journal.append(BATCH) == full_at + 100
        await journal.close()
        await journal.open()
        assert len(await journal.read(0, 100_000)) == full_at + 100
        await journal.close()
        print("went on")

    asyncio.run(main())
"""


def mounting():
    """The command that may mount a file system for one process alone, None where the host does not let us."""
    for options in (("-m",), ("-Urm",)):
        command = ["unshare", *options]
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0
        ):
            return command
    return None


@pytest.mark.skipif(mounting() is None, reason="needs the right to mount a small file system")
def test_a_full_disk_refuses_whole_batches_and_goes_on_when_there_is_room(tmp_path):
    mount = 'mount -t tmpfs -o size=3m tmpfs "$1" && shift && exec "$@"'
    process = child(FILLER, tmp_path, prefix=[*mounting(), "sh", "-c", mount, "sh", tmp_path])
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.endswith("went on\n")


async def test_the_log_stays_bounded_under_load_and_beside_reads(journal, path):
    wal = path.with_name("journal.db-wal")
    largest = 0

    async def read_from_the_start():
        while journal.last_sequence < 60_000:
            await journal.read(0, 500)
            await asyncio.sleep(0)

    reading = asyncio.ensure_future(read_from_the_start())
    full = batch(*range(500), data_bytes=600)
    for _ in range(120):
        await journal.append(full)
        largest = max(largest, wal.stat().st_size)
    await reading
    assert path.stat().st_size > 30 * 2**20
    assert largest < WAL_LIMIT_BYTES


async def test_pages_that_retention_frees_are_used_again(journal, path):
    async def load():
        for start in range(0, 10_000, 500):
            await journal.append(batch(*range(start, start + 500), data_bytes=600))

    await load()
    await journal.retain(before_ms=SAMPLE_MS + 1, keep_for=())
    before = path.stat().st_size
    for _ in range(3):
        await load()
        await journal.retain(before_ms=SAMPLE_MS + 1, keep_for=())
    assert path.stat().st_size < before * 1.5


async def test_a_long_read_delays_no_commit(journal):
    held = threading.Event()
    reading = asyncio.ensure_future(journal._query(lambda connection: held.wait(30)))
    assert await asyncio.wait_for(journal.append(batch(1)), 5) == 1
    assert not reading.done()
    held.set()
    assert await reading


async def test_a_lane_that_is_up_to_date_reads_no_file(journal):
    statements = []
    journal._part.store.read.set_trace_callback(statements.append)
    await journal.append(batch(*range(1, 11)))
    assert [event.sequence for event in await journal.read(4, 100)] == list(range(5, 11))
    assert statements == []


async def test_a_lane_far_behind_reads_the_file_and_meets_the_memory_without_a_hole(path, journal):
    await journal.append(batch(*range(500), data_bytes=100))
    await journal.close()
    await journal.open()
    await journal.append(batch(*range(500, 1000), data_bytes=100))
    after, found = 0, []
    while events := await journal.read(after, 64):
        found += [event.id for event in events]
        after = events[-1].sequence
    assert found == [f"event-{n}" for n in range(1000)]


async def test_a_dead_letter_keeps_its_event_when_retention_takes_it(journal, path):
    event = sample_event(7)
    await journal.append(JournalBatch(events=(event,)))
    letter = DeadLetter(sink="crm", sequence=1, event_id=event.id, reason="HTTP 422", attempts=1, at_ms=5)
    await journal.advance("crm", 1, [letter])
    assert await journal.retain(before_ms=SAMPLE_MS + 1, keep_for=("crm",)) == 1
    with closing(sqlite3.connect(path)) as connection:
        kept = connection.execute("SELECT event_id, type, subject, change, data FROM dead_letter").fetchall()
    assert kept == [(event.id, event.type, event.subject, "set", event.data)]


async def test_on_commit_hears_what_each_commit_has_cost(path):
    heard = []
    journal = SqliteJournal(path=path, on_commit=heard.append)
    await journal.open()
    await journal.append(batch(1, 2, 3))
    await journal.advance("crm", 1)
    with pytest.raises(OverflowError):
        await journal.append(JournalBatch(events=(sample_event(4, received_ms=2**64),)))
    await journal.close()
    batches, cursor = heard
    assert (batches.events, cursor.events, cursor.waited_s) == (3, 0, None)
    assert 0 < batches.fsync_s < batches.waited_s < 10
    assert 0 < cursor.fsync_s < 10


async def test_a_cancelled_opening_leaves_the_journal_free(path):
    opening = asyncio.ensure_future(SqliteJournal(path=path).open())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    journal = SqliteJournal(path=path)

    async def opened():
        try:
            await journal.open()
        except JournalLocked:
            return False
        return True

    await eventually(opened)
    await journal.close()


async def test_an_unreadable_row_is_an_error_that_names_the_file(journal, path):
    await journal.append(batch(1))
    await journal.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE event SET kind = 'unheard-of', crc = NULL")
    await journal.open()
    with pytest.raises(JournalError, match=r"journal\.db: .*unheard-of"):
        await journal.read(0, 10)


async def test_size_counts_the_file_and_its_log(journal, path):
    await journal.append(batch(*range(100), data_bytes=600))
    files = [path, path.with_name("journal.db-wal")]
    assert (await journal.stats()).bytes == size_bytes(path) == sum(file.stat().st_size for file in files)
    assert files[1].stat().st_size > 60_000


async def everything(journal):
    """Each call of the port that a running daemon makes."""
    value = LastValue(chat_id="c", key="k", value="x", account="a", server_time_ms=None, received_ms=1)
    await journal.append(JournalBatch(events=batch(*range(9)).events, values=(value,)))
    letter = DeadLetter(sink="crm", sequence=3, event_id="event-3", reason="no", attempts=1, at_ms=SAMPLE_MS)
    await journal.advance("crm", 5, [letter])
    journal._tail = Tail(last_sequence=journal.last_sequence)  # so that the file is read
    await journal.read(2, 4)
    await journal.search(EventFilter(chat="c"), limit=3)
    await journal.last_values(["c", "d"])
    await journal.dead_letter_page(limit=3)
    await journal.dead_letter_page(limit=3, sink="crm")
    await journal.replay_dead_letters(EVERY_DEAD_LETTER)
    await journal.replays("crm", 10)
    await journal.settle_replays("crm", [3], [letter])
    await journal.retain(before_ms=SAMPLE_MS - 1, keep_for=["crm"], max_bytes=1)
    await journal.stats()
    await journal.ping()


async def test_no_statement_of_a_running_daemon_walks_a_table_that_grows(journal, plans):
    await everything(journal)
    assert {table for table in GROWING if any(table in statement for statement in plans.statements)} == {*GROWING}
    assert plans.scans() == []
