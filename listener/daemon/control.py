"""The control socket beside the journal: the daemon takes commands from the command line, one JSON line each."""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import structlog

from listener.errors import UNDECODABLE, ControlError, DaemonEnded, ListenerError, NoDaemon, Outcome
from listener.model.condition import Exchange
from listener.model.event import LaneStatus
from listener.model.filter import ControlFilter, Milliseconds

LINE_BYTES = 2**20
LINE_S = 10.0
CLIENTS = 16
_ANSWER_S = 60.0  # longer than a commit takes; a daemon that hangs must not hang who asks

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class _Command(msgspec.Struct, frozen=True, kw_only=True, tag_field="command", forbid_unknown_fields=True):
    """What all commands have."""


class ResumeLane(_Command, frozen=True, kw_only=True, tag="lane-resume"):
    """Resume one parked sink, or `all`, and try one that fails at once. Answered with `Resumed`."""

    name: str | None = None
    all: bool = False


class ReplayDeadLetters(_Command, frozen=True, kw_only=True, tag="letters-replay"):
    """Deliver these letters again. Answered with `DeadLetterCount`: how many are marked for it now, durably."""

    filter: ControlFilter


class DropDeadLetters(_Command, frozen=True, kw_only=True, tag="letters-drop"):
    """Delete these letters for good. Answered with `DeadLetterCount`: how many there were."""

    filter: ControlFilter


class ListLanes(_Command, frozen=True, kw_only=True, tag="lanes"):
    """Report the state of all lanes. Answered with `LaneList`."""


class SendTestEvent(_Command, frozen=True, kw_only=True, tag="sink-test"):
    """Send one test event to a sink, ahead of waiting events. Answered with `SinkTestResult`."""

    name: str


class Summarize(_Command, frozen=True, kw_only=True, tag="summary"):
    """Tell what is well and what is not. Answered with a `web.summary.Summary`."""


class ResendEvents(_Command, frozen=True, kw_only=True, tag="resend"):
    """Deliver again what a sink got of the events recorded from `from_ms` to `to_ms` (epoch milliseconds, included).

    With `dry_run` only tell what that is. Answered with `Resend`.
    """

    name: str
    from_ms: Milliseconds
    to_ms: Milliseconds
    dry_run: bool = False


class CancelResend(_Command, frozen=True, kw_only=True, tag="resend-cancel"):
    """Deliver nothing again to a sink any more. Answered with `ResendCancelled`."""

    name: str


Command = (
    ResumeLane
    | ReplayDeadLetters
    | DropDeadLetters
    | ListLanes
    | SendTestEvent
    | ResendEvents
    | CancelResend
    | Summarize
)


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """Names of sinks: those that were parked and are resumed, and those that were running anyway.

    `trying` are those that waited for their next attempt after a failure, and make it at once.
    `ordered` are those that other replicas have, by the name of the replica that is told to; empty while none has it.
    """

    resumed: tuple[str, ...]
    trying: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    ordered: dict[str, str] = msgspec.field(default_factory=dict)


class DeadLetterCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many letters a command affects."""

    letters: int


class LaneList(msgspec.Struct, frozen=True, kw_only=True):
    """Every lane of the daemon at one moment."""

    lanes: tuple[LaneStatus, ...]


class SinkTestResult(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a test event.

    Attributes:
        event_id: its id.
        verdict: `taken`, or the sink's outcome: `retry`, `park`, `reject`.
        reason: why it was not taken; empty if it was.
        answer: what the destination said.
        exchanges: what was sent and answered, of a sink that can show it; without a secret.
    """

    event_id: str
    verdict: str
    reason: str = ""
    answer: str = ""
    exchanges: tuple[Exchange, ...] = ()

    @classmethod
    def of(cls, event_id: str, outcome: Outcome | None, exchanges: tuple[Exchange, ...] = ()) -> "SinkTestResult":
        """The verdict of an outcome; None means that the event was taken."""
        if outcome is None:
            return cls(event_id=event_id, verdict="taken", exchanges=exchanges)
        verdict = type(outcome).__name__.lower()
        return cls(
            event_id=event_id, verdict=verdict, reason=outcome.reason, answer=outcome.detail, exchanges=exchanges
        )


class Resend(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be delivered again: as many events at most, above the sequence `after`, up to `through`.

    Of these the sink gets what its settings let through, without its dead letters. Of the events that were asked for,
    `waiting` have not come to the sink yet, and will in their turn. `oldest_ms` is when the oldest event that is left
    was recorded (epoch milliseconds), where those before it are deleted; else None. `ordered` is the replica that is
    told to, empty while none has the sink; None where it is done here.
    """

    sink: str
    events: int
    after: int
    through: int
    waiting: int = 0
    oldest_ms: int | None = None
    ordered: str | None = None


class ResendCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """How many events were still to be delivered again."""

    sink: str
    left: int


Result = Resumed | DeadLetterCount | LaneList | SinkTestResult | Resend | ResendCancelled | msgspec.Raw


class _Ok(msgspec.Struct, frozen=True, kw_only=True):
    ok: Result


class _Error(msgspec.Struct, frozen=True, kw_only=True):
    error: str


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    ok: msgspec.Raw = msgspec.Raw()
    error: str | None = None


_COMMANDS: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)
_EXPECTED = (
    'expected one JSON object per line, {"command": …} of lane-resume (name or all), letters-replay (filter),'
    " letters-drop (filter), lanes, sink-test (name), resend (name, from_ms, to_ms, dry_run), resend-cancel (name),"
    " summary; a filter has event_ids, sink, since_ms, until_ms, after"
)


def socket_path(journal: Path) -> Path:
    """The socket of the daemon that owns a journal."""
    return journal.with_name(f"{journal.name}.control")


@contextmanager
def _short_path(path: Path) -> Iterator[tuple[str, int]]:
    """The socket's address, and the descriptor of its folder while it lasts.

    An address has at most 108 bytes, a path can have thousands: the folder is addressed by its descriptor.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}", folder
    finally:
        os.close(folder)


class ControlServer:
    """Takes commands on `<journal>.control`, which only the owner of the process may open (mode 0600).

    A command is one line of at most 1 MiB that arrives within 10 s. Its answer is one line, `{"ok": …}` or
    `{"error": "…"}`. A connection may send several commands, one after the other. It is closed, with the reason, at the
    first line that is not a command or that is overdue. At most 16 connections are served at once.

    Args:
        journal: the journal's path. Its lock must be held: whatever socket lies there then has no owner.
        execute: executes a command; raises ListenerError with a text for the peer.
        line_s: the time for a line to arrive, and for an answer to be taken.
    """

    def __init__(
        self, *, journal: Path, execute: Callable[[Command], Awaitable[Result]], line_s: float = LINE_S
    ) -> None:
        self._path = socket_path(journal)
        self._execute = execute
        self._line_s = line_s
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Listen. Raises ControlError, and leaves nothing behind, if the folder cannot hold a socket."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short_path(self._path) as (address, folder):
                _clear(self._path.name, folder)
                listening.bind(address)
                # Between bind and listen nobody can connect, so the mode is in time.
                os.chmod(self._path.name, 0o600, dir_fd=folder)
            listening.setblocking(False)
            self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=LINE_BYTES)
        except OSError as exc:
            listening.close()
            raise ControlError(f"cannot listen at {self._path}: {exc.strerror or exc}") from exc

    async def stop(self) -> None:
        """Close every connection, even during a command, and remove the socket. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        with suppress(OSError):  # a disk that has turned read-only keeps it: the next start removes it
            self._path.unlink()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())  # asyncio runs a coroutine callback as a task
        self._clients.add(task)
        try:
            await self._converse(reader, writer)
            await self._close(writer)
        except (OSError, TimeoutError) as exc:
            _log.warning("control_client_lost", reason=str(exc) or f"takes no answer within {self._line_s:g} s")
        except asyncio.CancelledError:
            pass  # by `stop` alone; asyncio would report it as an error
        finally:
            self._clients.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Raises TimeoutError or OSError if the peer does not read its answer."""
        try:
            self._admit()
            while line := await self._line(reader):
                command = _parse(line)
                await self._write(writer, await self._answer(command))
        except ControlError as exc:
            _log.warning("control_client_refused", reason=str(exc))
            await self._write(writer, _Error(error=str(exc)))

    async def _answer(self, command: Command) -> _Ok | _Error:
        try:
            return _Ok(ok=await self._execute(command))
        except ListenerError as exc:
            return _Error(error=str(exc))
        except Exception as exc:  # noqa: BLE001 - a bug in a command must not end the daemon
            _log.error("control_command_failed", command=type(command).__name__, exc_info=exc)
            return _Error(error=f"unexpected {type(exc).__name__} (the daemon's log has more)")

    def _admit(self) -> None:
        if len(self._clients) > CLIENTS:
            raise ControlError(f"{CLIENTS} clients are being served; try again")

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """The next line; empty if the peer disconnected between two."""
        try:
            async with asyncio.timeout(self._line_s):
                line = await reader.readline()
        except TimeoutError:
            raise ControlError(f"no whole line within {self._line_s:g} s") from None
        except ValueError:  # how readline says it
            raise ControlError(f"a line has at most {LINE_BYTES} bytes") from None
        if line and not line.endswith(b"\n"):
            raise ControlError("the last line has no end")
        return line

    async def _write(self, writer: asyncio.StreamWriter, answer: _Ok | _Error) -> None:
        writer.write(msgspec.json.encode(answer) + b"\n")
        async with asyncio.timeout(self._line_s):
            await writer.drain()

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """Close, once the peer has read its answer."""
        writer.close()
        async with asyncio.timeout(self._line_s):
            await writer.wait_closed()


def _clear(name: str, folder: int) -> None:
    """Remove the socket of a daemon that is gone; anything else is somebody's file. Raises OSError."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise FileExistsError(errno.EEXIST, "there is something that is not a socket")
    os.unlink(name, dir_fd=folder)


def _parse(line: bytes) -> Command:
    try:
        return _COMMANDS.decode(line)
    except UNDECODABLE as exc:
        raise ControlError(f"{exc}; {_EXPECTED}") from exc


def ask(journal: Path, command: Command, expected: type[T], *, timeout_s: float = _ANSWER_S) -> T:
    """Send a command to the daemon that owns a journal, and wait for its answer. Blocks.

    Args:
        journal: the journal's path.
        command: what to do.
        expected: the answer that belongs to it.
        timeout_s: how long the daemon may take.

    Raises:
        NoDaemon: no daemon listens there.
        DaemonEnded: the daemon closed the connection in the middle; it may have executed the command.
        ControlError: the daemon refused, with its own text; or there was no usable answer.
    """
    path = socket_path(journal)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            with _short_path(path) as (address, _):
                connection.connect(address)
            with suppress(BrokenPipeError):  # a refused connection finds the reason there nevertheless
                connection.sendall(msgspec.json.encode(command) + b"\n")
            line = _received_line(connection)
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise NoDaemon(f"no daemon listens at {path}") from exc
        except ConnectionResetError:  # what a killed process leaves of a line that it has not read
            line = b""
        except OSError as exc:
            raise ControlError(f"the daemon at {path} does not answer: {exc.strerror or exc}") from exc
    if not line:
        why = "it ended, or has too many open files; the command may have been executed"
        raise DaemonEnded(f"the daemon at {path} closed the connection before it answered: {why}")
    return _result(line, path, expected)


def ask_twice(journal: Path, command: Command, expected: type[T]) -> T:
    """As `ask`, of a command that changes nothing: once more where the daemon closed the connection.

    It does so as it ends, and then there is none the second time; or since it may open no more files.
    """
    with suppress(DaemonEnded):
        return ask(journal, command, expected)
    return ask(journal, command, expected)


def _received_line(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as answers:
        return answers.readline()


def _result(line: bytes, path: Path, expected: type[T]) -> T:
    try:
        answer = msgspec.json.decode(line, type=_Answer)
        if answer.error is not None:
            raise ControlError(answer.error)
        return msgspec.json.decode(answer.ok, type=expected)
    except UNDECODABLE as exc:
        raise ControlError(f"the daemon at {path} gave no usable answer") from exc
