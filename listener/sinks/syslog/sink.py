"""Delivers batches as RFC 5424 messages, and waits for the nearest thing to an acknowledgement that syslog has."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterable, Sequence

from listener.errors import Outcome, Park, Refusal, Reject, Retry
from listener.model.event import Event
from listener.model.forms import Form
from listener.ports import Sink
from listener.sinks.durability import report_durability
from listener.sinks.registry import SinkContext, SinkKind
from listener.sinks.syslog.connection import Connection
from listener.sinks.syslog.settings import SyslogSettings
from listener.sinks.tls import is_refusal

_BOM = b"\xef\xbb\xbf"
_ATTRIBUTES = ("id", "sequence", "type", "source", "subject", "account", "change")
_ESCAPES = str.maketrans({character: f"\\{character}" for character in '"\\]'})  # RFC 5424, 6.3.3

_READ = (
    "syslog acknowledges nothing: the receiver shows by closing its connection that a batch was taken, which means "
    "that it has read the batch, not that it has stored it"
)

_UNSAID = (
    "it ends connections without a close_notify: one that dies or refuses silently may look like one that has read"
)

_SENT = (
    'syslog acknowledges nothing: with confirm = "sent" a batch counts as taken once the receiver\'s host has it, '
    "whether or not its process has read it"
)


class MessageWriter:
    """Writes events as SYSLOG-MSG (RFC 5424, 6): the event's attributes as structured data, its body as MSG.

    MSG begins with a BOM on request only: JSON must not (RFC 8259, 8.1), and without one it is MSG-ANY (6.4).
    """

    def __init__(self, settings: SyslogSettings, form: Form) -> None:
        self._start = f"<{settings.priority}>1"
        host = settings.hostname or _host_name()
        self._origin = f"{host} {settings.app_name} {os.getpid()}"
        self._sd_id = settings.sd_id
        self._bom = _BOM if settings.bom else b""
        self._form = form

    def message(self, event: Event) -> bytes:
        """One message; MSGID is the kind of event."""
        values = ((name, getattr(event, name)) for name in _ATTRIBUTES)
        parameters = " ".join([f'{name}="{_escaped(str(value))}"' for name, value in values if value is not None])
        header = f"{self._start} {event.time} {self._origin} {event.kind} [{self._sd_id} {parameters}] "
        return header.encode() + self._bom + self._form.body(event)


def _host_name() -> str:
    """Of this machine, as HOSTNAME allows it (RFC 5424, 6.2.4)."""
    name = "".join(character for character in socket.gethostname() if "!" <= character <= "~")
    return name[:255] or "-"


def _escaped(value: str) -> str:
    """As PARAM-VALUE. Control characters are legal there, but make two lines of one in many receivers."""
    plain = value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)
    return plain.translate(_ESCAPES)


def framed(messages: Iterable[bytes]) -> bytes:
    """SYSLOG-FRAMEs (RFC 5425, 4.3), which TCP without TLS knows as octet counting (RFC 6587, 3.4.1)."""
    return b"".join([b"%d %b" % (len(message), message) for message in messages])


class SyslogSink:
    """Sends a batch, and waits for the nearest thing to an acknowledgement that syslog has.

    With `confirm = "close"` each batch has a connection of its own, which the sink ends in order; a receiver reads such
    a connection to its end and closes it too. It has then read the whole batch, and one that died before that has reset
    the connection instead, which brings the batch again. With `"sent"` one connection is kept, and a batch counts as
    taken once the receiver's host has acknowledged its last byte (TCP): less, for receivers that mind new connections.

    Args:
        context: the sink's surroundings.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: SyslogSettings) -> None:
        self._context = context
        self._settings = settings
        self._writer = MessageWriter(settings, context.form)
        self._connection: Connection | None = None
        self._opened = False
        self._tls: ssl.SSLContext | None = None
        self._says_goodbye = False

    async def open(self) -> None:
        """See `ports.Sink`."""
        await self.close()
        await self.check()
        self._opened = True
        risks: tuple[str, ...] = (_READ if self._settings.confirm == "close" else _SENT,)
        if self._settings.tls and not self._says_goodbye:
            risks += (_UNSAID,)
        report_durability(self._context, destination=self._place, risks=risks, confirm=self._settings.confirm)

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. A batch is taken whole or not at all, and only then begun when every event fits."""
        data = self._frames(events)
        if not self._opened:
            raise Retry(f"sinks.{self._context.name} is not open")
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._send(data)
        except OSError as exc:
            raise self._outcome(exc) from exc

    async def check(self) -> None:
        """See `ports.Sink`: opens a connection and ends it, which a receiver that wants another certificate refuses."""
        if self._settings.tls and not self._opened:
            self._tls = await asyncio.to_thread(self._settings.ssl_context, self._context)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._probe()
        except OSError as exc:
            raise self._outcome(exc) from exc

    async def close(self) -> None:
        """See `ports.Sink`. A batch in flight is given up."""
        self._opened = False
        self._drop()

    async def _send(self, data: bytes) -> None:
        connection = await self._connected()
        kept = False
        try:
            await connection.send(data)
            if self._settings.confirm == "close":
                await self._finish(connection)
            else:
                await connection.settle()
                kept = True
        finally:
            if not kept:
                self._drop(connection)

    async def _connected(self) -> Connection:
        """The kept connection while the receiver has not closed it, or a new one."""
        if self._connection is not None and not self._connection.ended:
            return self._connection
        self._drop()
        if self._settings.confirm == "sent":
            await self._probe()  # a connection that is not ended in order would not tell that it was refused
        connection = await Connection.to(self._settings.address, self._tls)
        if not self._opened:
            connection.close()
            raise ConnectionAbortedError("the sink was closed meanwhile")
        self._connection = connection
        return connection

    async def _probe(self) -> None:
        with contextlib.closing(await Connection.to(self._settings.address, self._tls)) as connection:
            await self._finish(connection)

    async def _finish(self, connection: Connection) -> None:
        """Whoever has answered a close_notify once is held to it: it ended otherwise without having read to the end."""
        answered = await connection.finish()
        if self._says_goodbye and not answered:
            raise ConnectionResetError("it ended the connection without the close_notify that it sent before")
        self._says_goodbye = answered

    def _drop(self, connection: Connection | None = None) -> None:
        """Close this connection, or whichever there is."""
        connection = connection or self._connection
        if connection is self._connection:
            self._connection = None
        if connection is not None:
            connection.close()

    def _frames(self, events: Sequence[Event]) -> bytes:
        """The batch in octets. Raises Reject: some events are larger than the receiver takes."""
        messages = [self._writer.message(event) for event in events]
        limit = self._settings.max_bytes
        judged = {
            index: Refusal(f"{len(message)} bytes, more than {self._context.setting('max_bytes')} = {limit}")
            for index, message in enumerate(messages)
            if len(message) > limit
        }
        if judged:
            first = min(judged)
            raise Reject(first, judged.pop(first).reason, rejected=judged, in_a_row=frozenset())
        return framed(messages)

    def _outcome(self, exc: OSError) -> Outcome:
        """The one place that distinguishes passing failures from those that need a person."""
        if isinstance(exc, TimeoutError):
            return Retry(f"{self._place} did not take it within {self._settings.timeout_s:g} s")
        if isinstance(exc, ssl.SSLCertVerificationError):  # it will be renewed there, or trusted here after a restart
            return Retry(f"{self._place} presents a certificate that is not trusted: {exc.verify_message}")
        if isinstance(exc, ssl.SSLError) and is_refusal(exc):
            return Park(f"{self._place} does not accept {self._context.setting('client_cert_file')}: {exc.reason}")
        return Retry(f"{self._place}: {exc.strerror or exc or type(exc).__name__}")

    @property
    def _place(self) -> str:
        host, port = self._settings.address
        return f"{host}:{port}"


def _build(context: SinkContext, settings: SyslogSettings) -> Sink:
    return SyslogSink(context=context, settings=settings)


KIND = SinkKind(name="syslog", settings=SyslogSettings, build=_build)
