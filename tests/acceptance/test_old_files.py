"""Configuration, journal and audit trail of the version before the modules moved: this one goes on with all of them.

`tests/data/before` holds what that version wrote: sixteen dispositions of three chats, of which the sink `crm` refused
two and has not got four; then a page of the journal was destroyed and repaired, and three more events were stored that
no sink has got. The process was killed, so that the last of them are in the WAL.
"""

import json
import shutil
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from listener.audit.files import in_order, lines_of
from listener.journal.sqlite.journal import SqliteJournal
from listener.simulator import Simulator, SimulatorOptions
from support.eventually import eventually
from support.process import Daemon
from support.receiver import Receiver

BEFORE = Path(__file__).parents[1] / "data" / "before"
REFUSED = [4, 7]
LAST = 1_000_019  # sequences behind the repair begin at 1_000_017
LAST_VALUES = {"chat-0": "code-15", "chat-1": "code-16", "chat-2": "code-14"}

StartDaemon = Callable[..., Awaitable[Daemon]]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder with the old files."""
    shutil.copytree(BEFORE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "audit.key").chmod(0o600)
    return tmp_path


@pytest.fixture
async def simulator(owned) -> Simulator:
    """A server that holds the dispositions which the old version heard last."""
    simulator = await owned.enter_async_context(Simulator(SimulatorOptions(agents=1, ack=True, timeout_ms=1000)))
    for chat, value in LAST_VALUES.items():
        simulator.add_chat(chat)
        simulator.set_disposition("agent1", chat, value, "DispositionCode")
    return simulator


@pytest.fixture
async def daemon(old: Path, simulator: Simulator, receiver: Receiver, start_daemon: StartDaemon) -> Daemon:
    """A daemon on the old files, subscribed."""
    env = {"LISTENER_SERVER__URL": simulator.url, "LISTENER_SINKS__CRM__URL": f"{receiver.url}/dispositions"}
    daemon = await start_daemon(old / "listener.toml", env=env)
    await daemon.logged("subscribed")
    return daemon


@pytest.fixture
def run(start_command, old: Path):
    """A command in the folder; its lines, when it ended with 0."""

    async def run(*words: str | Path) -> list[str]:
        command = await start_command(*words)
        assert await command.wait() == 0, command.output()
        return command.lines

    return run


@pytest.fixture
def undelivered(tmp_path_factory) -> list[str]:
    """The ids of the events that `crm` has not got, in their order."""
    return ids(tmp_path_factory, "SELECT id FROM event WHERE sequence > 12 ORDER BY sequence")


@pytest.fixture
def refused(tmp_path_factory) -> list[str]:
    """The ids of the dead letters, in their order."""
    return ids(tmp_path_factory, "SELECT event_id FROM dead_letter ORDER BY sequence")


def ids(folders: pytest.TempPathFactory, query: str) -> list[str]:
    """What plain SQLite finds in a copy of the old journal."""
    path = shutil.copytree(BEFORE, folders.mktemp("before"), dirs_exist_ok=True) / "journal.db"
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(query)]


def trail(folder: Path) -> list[Path]:
    """The audit file and those that it was before."""
    return in_order([folder / "dispositions.jsonl", *folder.glob("dispositions.jsonl.2*")])


def stands_in(folder: Path, text: bytes) -> bool:
    """Whether the trail holds it; a file that is being rotated may be missed for a moment."""
    with suppress(FileNotFoundError):
        return any(text in path.read_bytes() for path in trail(folder))
    return False


async def test_the_configuration_is_still_a_good_one(run, old: Path):
    await run("check", "--config", old / "listener.toml")


async def test_the_journal_holds_what_it_held(old: Path, undelivered: list[str], refused: list[str]):
    journal = SqliteJournal(path=old / "journal.db")
    await journal.open()
    try:
        sessions, values = await journal.sessions(), await journal.last_values(list(LAST_VALUES))
        letters, damages = await journal.dead_letters(), await journal.pending_damages()
        states, cursors = await journal.lane_states(), await journal.cursors()
        events = await journal.read(12, 100)
    finally:
        await journal.close()
    assert journal.last_sequence == LAST
    assert cursors == {"audit": 16, "crm": 12}
    assert {value.chat_id: value.value for value in values} == LAST_VALUES
    assert [(letter.sink, letter.sequence, letter.answer) for letter in letters] == [
        ("crm", number, "no such chat") for number in REFUSED
    ]
    assert [damage.kept for damage in damages] == [9]
    assert states["crm"].attempts == 1
    assert sessions["agent1"].client_id == "26240fa3fa9b4bc2235172d811"
    assert [event.id for event in events] == undelivered
    assert [letter.event_id for letter in letters] == refused


async def test_what_was_not_delivered_comes_under_its_old_id_and_the_sequence_goes_on(
    undelivered: list[str], simulator: Simulator, receiver: Receiver, daemon: Daemon
):
    await receiver.received(len(undelivered))
    simulator.set_disposition("agent1", "chat-2", "code-17", "DispositionCode")
    *first, last = [post.json for post in await receiver.received(len(undelivered) + 1)]
    assert sorted(post["id"] for post in first) == sorted(undelivered)
    for chat in LAST_VALUES:  # others may be on their way beside it
        of_chat = [post["id"] for post in first if post["subject"] == chat]
        assert of_chat == [event for event in undelivered if event in of_chat]
    assert (last["data"]["change"], last["data"]["previous"], last["data"]["disposition"]) == (
        "changed",
        "code-14",
        "code-17",
    )
    assert int(last["sequence"]) > LAST
    assert daemon.exit_status is None


async def test_dead_letters_are_replayed_as_the_events_that_they_were(
    old: Path, run, refused: list[str], receiver: Receiver, daemon: Daemon
):
    await run("dead-letters", "replay", "--all", "--config", old / "listener.toml")
    assert [post["id"] for post in receiver.accepted() if int(post["sequence"]) in REFUSED] == refused
    assert daemon.exit_status is None


async def test_old_and_new_lines_are_proven_together(old: Path, run, simulator: Simulator, daemon: Daemon):
    before = [line for path in trail(BEFORE) for line in lines_of(path)]
    simulator.set_disposition("agent1", "chat-2", "code-17", "DispositionCode")
    await eventually(lambda: stands_in(old, b'"code-17"'), what=daemon.output)
    daemon.send_signal(signal.SIGTERM)
    assert await daemon.wait() == 0, daemon.output()
    lines = [line for path in trail(old) for line in lines_of(path)]
    assert lines[: len(before)] == before
    records = [json.loads(line) for line in lines]
    assert [int(record["chainindex"]) for record in records] == list(range(len(lines)))
    assert [record["sequence"] for record in records[16:19]] == ["1000017", "1000018", "1000019"]
    gaps = {record["data"]["reason"] for record in records if record["type"].endswith(".gap")}
    assert gaps == {"journal_damaged", "restart"}
    public_key = (BEFORE / "dispositions.jsonl.pub").read_text().strip()
    (verdict,) = await run("audit", "verify", "--json", "--pubkey", public_key, *trail(old))
    proof = json.loads(verdict)
    assert (proof["proven"], proof["first"], proof["size"], proof["signed"]) == (True, 0, len(lines), len(lines))


async def test_a_changed_old_line_is_still_found(old: Path, start_command):
    rotated = trail(old)[0]
    rotated.write_bytes(rotated.read_bytes().replace(b'"code-3"', b'"code-9"', 1))
    command = await start_command("audit", "verify", "--pubkey", old / "dispositions.jsonl.pub", *trail(old))
    assert await command.wait() == 1, command.output()
