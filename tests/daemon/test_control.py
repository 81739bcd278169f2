"""Orders over a real socket: what is carried out, what is refused, and peers that do not behave."""

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from listener.daemon import control
from listener.daemon.control import (
    Command,
    ControlServer,
    DeadLetterCount,
    DropDeadLetters,
    LaneList,
    ListLanes,
    ReplayDeadLetters,
    Result,
    Resumed,
    ResumeLane,
    ask,
    ask_twice,
    socket_path,
)
from listener.errors import ControlError, DaemonEnded, JournalError, NoDaemon
from listener.model.event import DeadLetterFilter, LaneStatus
from listener.model.filter import ControlFilter
from support.eventually import PATIENCE_S, eventually

Serve = Callable[..., Awaitable[ControlServer]]
LANE = LaneStatus(sink="crm", kind="webhook", cursor=1, lag=2, delivered=1, failures=0, parked="401", last_error=None)


class Peer:
    """A client that speaks bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> dict[str, Any]:
        """The next line."""
        async with asyncio.timeout(PATIENCE_S):
            return json.loads(await self.reader.readline())

    async def hung_up(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


@asynccontextmanager
async def peer(journal: Path) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_unix_connection(socket_path(journal))
    try:
        yield Peer(reader, writer)
    finally:
        writer.close()


async def obey(command: Command) -> Result:
    """A daemon with one lane and seven letters."""
    match command:
        case ResumeLane(name=name):
            return Resumed(resumed=(name or "every",))
        case DropDeadLetters():
            raise JournalError("journal: the disk is full")
        case ReplayDeadLetters():
            return DeadLetterCount(letters=7)
        case ListLanes():
            return LaneList(lanes=(LANE,))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def serve(owned: AsyncExitStack, journal: Path) -> Serve:
    """A server beside the journal.

    `await serve(execute, line_s=0.2)`
    """

    async def start(execute: Callable[[Command], Awaitable[Result]] = obey, **options: Any) -> ControlServer:
        server = ControlServer(journal=options.pop("journal", journal), execute=execute, **options)
        await server.start()
        owned.push_async_callback(server.stop)
        return server

    return start


async def asked(journal: Path, command: Command, expected: type[Any]) -> Any:
    return await asyncio.to_thread(ask, journal, command, expected)


async def test_each_order_gets_the_answer_that_belongs_to_it(serve: Serve, journal: Path):
    await serve()
    assert await asked(journal, ResumeLane(name="crm"), Resumed) == Resumed(resumed=("crm",))
    assert await asked(
        journal, ReplayDeadLetters(filter=ControlFilter(sink="crm")), DeadLetterCount
    ) == DeadLetterCount(letters=7)
    assert await asked(journal, ListLanes(), LaneList) == LaneList(lanes=(LANE,))


async def test_a_filter_arrives_as_it_was_given(serve: Serve, journal: Path):
    seen: list[Command] = []

    async def note(command: Command) -> Result:
        seen.append(command)
        return DeadLetterCount(letters=0)

    await serve(note)
    which = DeadLetterFilter(event_ids=("a", "b\n"), sink="crm", since_ms=1, until_ms=2)
    await asked(journal, ReplayDeadLetters(filter=ControlFilter.of(which)), DeadLetterCount)
    assert seen == [ReplayDeadLetters(filter=ControlFilter(event_ids=("a", "b\n"), sink="crm", since_ms=1, until_ms=2))]


async def test_what_cannot_be_done_is_told_in_its_own_words(serve: Serve, journal: Path):
    await serve()
    with pytest.raises(ControlError, match=r"^journal: the disk is full$"):
        await asked(journal, DropDeadLetters(filter=ControlFilter()), DeadLetterCount)


async def test_a_bug_in_an_order_costs_the_order_alone(serve: Serve, journal: Path):
    async def stumble(command: Command) -> Result:
        if isinstance(command, ListLanes):
            return LaneList(lanes=())
        raise ZeroDivisionError("with a secret")

    await serve(stumble)
    with capture_logs() as logs:
        async with peer(journal) as client:
            client.send(b'{"command": "lane-resume", "all": true}\n{"command": "lanes"}\n')
            assert await client.answer() == {"error": "unexpected ZeroDivisionError (the daemon's log has more)"}
            assert list(await client.answer()) == ["ok"]
    assert [entry["event"] for entry in logs] == ["control_command_failed"]


async def test_a_file_of_that_name_is_not_taken_for_a_socket(serve: Serve, journal: Path):
    socket_path(journal).write_text("somebody's", encoding="utf-8")
    with pytest.raises(ControlError, match="there is something that is not a socket"):
        await serve()
    assert socket_path(journal).read_text(encoding="utf-8") == "somebody's"


async def test_one_connection_may_bring_several_orders(serve: Serve, journal: Path):
    await serve()
    async with peer(journal) as client:
        client.send(b'{"command": "lanes"}\n{"command": "lane-resume", "name": "crm"}\n')
        assert list(await client.answer()) == ["ok"]
        assert (await client.answer())["ok"]["resumed"] == ["crm"]
        client.send(b'{"command": "letters-drop", "filter": {}}\n{"command": "lanes"}\n')
        assert await client.answer() == {"error": "journal: the disk is full"}
        assert list(await client.answer()) == ["ok"], "what could not be done ends nothing"


async def test_only_the_owner_may_open_the_socket(serve: Serve, journal: Path):
    server = await serve()
    mode = socket_path(journal).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    await server.stop()
    await server.stop()
    assert not socket_path(journal).exists()


async def test_a_socket_that_a_killed_daemon_left_is_replaced(serve: Serve, journal: Path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_path(journal)))
    with pytest.raises(NoDaemon):
        await asked(journal, ListLanes(), LaneList)
    await serve()
    assert await asked(journal, ListLanes(), LaneList)


async def test_the_path_may_be_longer_than_an_address(serve: Serve, tmp_path: Path):
    folder = tmp_path / ("long" * 40) / ("er" * 40)
    folder.mkdir(parents=True)
    server = await serve(journal=folder / "journal.db")
    assert await asked(folder / "journal.db", ListLanes(), LaneList)
    await server.stop()
    assert list(folder.iterdir()) == []


async def test_a_folder_that_takes_no_socket_is_told(serve: Serve, tmp_path: Path):
    with pytest.raises(ControlError, match=r"cannot listen at .*journal.db.control: "):
        await serve(journal=tmp_path / "none" / "journal.db")


@pytest.mark.parametrize("folder", ["", "none"])
def test_without_a_daemon_there_is_an_error_of_its_own(tmp_path: Path, folder: str):
    with pytest.raises(NoDaemon, match="no daemon listens at"):
        ask(tmp_path / folder / "journal.db", ListLanes(), LaneList)


async def test_a_daemon_that_hangs_does_not_hang_who_asks(serve: Serve, journal: Path):
    async def sleep(_order: Command) -> Result:
        await asyncio.sleep(60.0)
        raise AssertionError

    await serve(sleep)
    with pytest.raises(ControlError, match="does not answer: timed out"):
        await asyncio.to_thread(ask, journal, ListLanes(), LaneList, timeout_s=0.1)


async def test_a_daemon_that_ends_meanwhile_gave_no_answer(serve: Serve, journal: Path):
    begun = asyncio.Event()

    async def sleep(_order: Command) -> Result:
        begun.set()
        await asyncio.sleep(60.0)
        raise AssertionError

    server = await serve(sleep)
    asking = asyncio.ensure_future(asked(journal, ListLanes(), LaneList))
    await begun.wait()
    await server.stop()
    with pytest.raises(DaemonEnded, match="closed the connection before it answered"):
        await asking


async def test_a_daemon_that_is_killed_before_it_read_the_order_gave_no_answer(journal: Path):
    """A process that dies with an unread line resets the connection."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(socket_path(journal)))
        listening.listen()
        asking = asyncio.ensure_future(asked(journal, ListLanes(), LaneList))
        connection, _ = await asyncio.to_thread(listening.accept)
        assert await asyncio.to_thread(connection.recv, 1) == b"{"
        connection.close()
        with pytest.raises(DaemonEnded, match="closed the connection before it answered"):
            await asking


@pytest.mark.parametrize("lives", [True, False])
async def test_a_daemon_that_takes_no_connection_is_told_from_one_that_ended(journal: Path, *, lives: bool):
    """With too many open files each connection is closed at once; to look again changes nothing."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(socket_path(journal)))
        listening.listen()
        asking = asyncio.ensure_future(asyncio.to_thread(ask_twice, journal, ListLanes(), LaneList))
        for _ in range(2 if lives else 1):
            connection, _ = await asyncio.to_thread(listening.accept)
            await asyncio.to_thread(connection.recv, 1)
            if not lives:
                listening.close()
            connection.close()
        with pytest.raises(DaemonEnded if lives else NoDaemon):
            await asking


REFUSED = {
    "garbage": (b"\x00\xff\xfe rm -rf\n", "expected one JSON object per line"),
    "no object": (b"[]\n", "expected one JSON object per line"),
    "an HTTP request": (b"GET / HTTP/1.1\r\n", "expected one JSON object per line"),
    "an unknown order": (b'{"command": "shutdown"}\n', "lane-resume (name or all), letters-replay (filter)"),
    "no order": (b'{"name": "crm"}\n', "`command`"),
    "an unknown member": (b'{"command": "lanes", "sink": "crm"}\n', "unknown field `sink`"),
    "an unknown condition": (b'{"command": "letters-drop", "filter": {"id": ["a"]}}\n', "a filter has event_ids, sink"),
    "no filter": (b'{"command": "letters-drop"}\n', "`filter`"),
    "a wrong type": (b'{"command": "letters-replay", "filter": {"since_ms": "1"}}\n', "`$.filter.since_ms`"),
    "a time beyond all": (b'{"command": "letters-drop", "filter": {"until_ms": %d}}\n' % 2**70, "`$.filter.until_ms`"),
    "half a surrogate": (b'{"command": "lane-resume", "name": "\\ud800"}\n', "expected one JSON object per line"),
    "depth": (b"[" * 100_000 + b"\n", "expected one JSON object per line"),
    "depth within": (b'{"command": "lanes", "x": ' + b"[" * 100_000 + b"\n", "expected one JSON object per line"),
}


@pytest.mark.parametrize(("line", "text"), REFUSED.values(), ids=REFUSED)
async def test_what_is_no_order_is_told_what_was_expected_and_logged_once(
    serve: Serve, journal: Path, line: bytes, text: str
):
    await serve()
    with capture_logs() as logs:
        async with peer(journal) as client:
            client.send(line + line)
            assert text in (await client.answer())["error"]
            assert await client.hung_up()
    assert [entry["event"] for entry in logs] == ["control_client_refused"]
    assert await asked(journal, ListLanes(), LaneList)


async def test_a_line_that_is_too_long_is_not_read_to_its_end(serve: Serve, journal: Path):
    await serve()
    with capture_logs() as logs:
        async with peer(journal) as client:
            client.send(b" " * 8 * control.LINE_BYTES)
            assert await client.answer() == {"error": "a line has at most 1048576 bytes"}
            assert await client.hung_up()
    assert len(logs) == 1


async def test_half_a_line_and_then_silence_is_waited_for_so_long_and_holds_nobody_up(serve: Serve, journal: Path):
    await serve(line_s=0.3)
    with capture_logs() as logs:
        async with peer(journal) as client:
            client.send(b'{"command": "la')
            assert await asked(journal, ListLanes(), LaneList), "meanwhile"
            assert await client.answer() == {"error": "no whole line within 0.3 s"}
            assert await client.hung_up()
    assert len(logs) == 1


async def test_bytes_that_drip_are_no_line_either(serve: Serve, journal: Path):
    await serve(line_s=0.3)
    async with peer(journal) as client:
        for _ in range(5):
            client.send(b" ")
            await asyncio.sleep(0.05)
        assert await client.answer() == {"error": "no whole line within 0.3 s"}


async def test_a_line_without_an_end_is_not_carried_out(serve: Serve, journal: Path):
    seen: list[Command] = []

    async def note(command: Command) -> Result:
        seen.append(command)
        return DeadLetterCount(letters=0)

    await serve(note)
    async with peer(journal) as client:
        client.send(b'{"command": "letters-drop", "filter": {}}')
        client.writer.write_eof()
        assert await client.answer() == {"error": "the last line has no end"}
    assert seen == []


async def test_a_peer_that_takes_no_answer_is_let_go(serve: Serve, journal: Path):
    """Its socket fills with the answers that it never reads."""

    async def talk(_order: Command) -> Result:
        return Resumed(resumed=("x" * 100_000,))

    await serve(talk, line_s=0.3)
    with capture_logs() as logs, socket.socket(socket.AF_UNIX) as mute:
        mute.connect(str(socket_path(journal)))
        mute.sendall(b'{"command": "lanes"}\n' * 50)
        await eventually(lambda: logs)
    assert [entry["event"] for entry in logs] == ["control_client_lost"]
    assert await asked(journal, ListLanes(), Resumed)


async def test_of_many_clients_only_so_many_are_served_at_once(serve: Serve, journal: Path):
    server = await serve()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(peer(journal)) for _ in range(control.CLIENTS)]
        await eventually(lambda: len(server._clients) == control.CLIENTS)
        with pytest.raises(ControlError, match="16 clients are being served"):
            await asked(journal, ListLanes(), LaneList)
        clients[0].send(b'{"command": "lanes"}\n')
        assert list(await clients[0].answer()) == ["ok"], "who is served stays so"
    await eventually(lambda: not server._clients)
    assert await asked(journal, ListLanes(), LaneList)


async def test_a_socket_that_cannot_be_removed_does_not_keep_the_daemon_from_stopping(serve: Serve, journal: Path):
    server = await serve()
    place = journal.with_name(f"{journal.name}.control")
    place.unlink()
    place.mkdir()
    await server.stop()


async def test_stopping_hangs_up_on_everybody(serve: Serve, journal: Path):
    server = await serve()
    async with peer(journal) as client:
        client.send(b'{"command": "la')
        await eventually(lambda: server._clients)
        async with asyncio.timeout(2.0):
            await server.stop()
        assert await client.hung_up()


@given(line=st.binary(max_size=300))
def test_whatever_a_line_holds_it_is_an_order_or_refused(line: bytes):
    with suppress(ControlError):
        assert isinstance(control._parse(line), Command)
