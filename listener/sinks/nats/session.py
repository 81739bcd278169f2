"""One connection to a NATS server: what is published on it, and what JetStream answers."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js import JetStreamContext, api

from listener.errors import Park, Retry
from listener.sinks.nats.login import Login

_CLOSE_S = 1.0
_NO_RESPONDERS = "503"  # the status of a message that nobody has subscribed to (nats-architecture-and-design ADR-4)
_PERMISSIONS = "permissions violation"

# Error codes of the JetStream API (nats-server, server/errors.json).
_STREAM_NOT_FOUND = 10059
_TOO_LARGE = {10054, 10097}
_NEED_A_PERSON = {_STREAM_NOT_FOUND, 10060, 10109, 10039, 10076}  # another stream's subject, sealed, not enabled (two)


class Message(NamedTuple):
    """One message to publish."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def size(self) -> int:
        """Bytes that count against the server's `max_payload`: the header block as it is on the wire, and the body."""
        lines = sum(len(f"{name}: {value}\r\n".encode()) for name, value in self.headers.items())
        return len(b"NATS/1.0\r\n\r\n") + lines + len(self.body)


class ApiError(msgspec.Struct, frozen=True):
    """What JetStream says where it did not do what was asked."""

    code: int
    err_code: int = 0
    description: str = ""

    @property
    def too_large(self) -> bool:
        """Whether the message can never be taken."""
        return self.err_code in _TOO_LARGE

    def outcome(self, place: str) -> Park | Retry:
        """Of what is not too large."""
        kind = Park if self.err_code in _NEED_A_PERSON else Retry
        return kind(f"{place}: {self.description} (error {self.err_code or self.code})")


class Answer(msgspec.Struct, frozen=True):
    """The acknowledgement of a published message (PubAck), or an error in its place."""

    error: ApiError | None = None


NO_STREAM = Answer(ApiError(code=503, description="no stream takes the subject"))
"""What stands for the answer where nobody listens to the subject."""

_DECODER = msgspec.json.Decoder(Answer)
_UNREADABLE = Answer(ApiError(code=500, description="the acknowledgement is not JSON"))


class Session:
    """A connection that is used until something is wrong with it, and then given up.

    Args:
        timeout_s: for the answers to what is published at once.

    Attributes:
        trouble: the first thing that went wrong, None while nothing has.
        stream: what whoever connected has learnt of the stream; None where this user may not ask.
    """

    def __init__(self, *, timeout_s: float) -> None:
        self.trouble: Exception | None = None
        self.stream: api.StreamConfig | None = None
        self._timeout_s = timeout_s
        self._client = Client()
        self._inbox = ""
        self._numbers = itertools.count()
        self._open: dict[str, int] = {}
        self._answers: dict[int, Answer] = {}
        self._settled = asyncio.Event()
        self._waiting: asyncio.Timeout | None = None

    async def connect(self, login: Login) -> None:
        """Connect once and log in.

        Raises:
            nats.errors.Error, OSError, NoTlsError: there is no connection; `trouble` may say more.
        """
        await self._client.connect(
            **login.options,
            name="disposition-listener",
            error_cb=self._note,
            closed_cb=self._note_end,
            connect_timeout=self._timeout_s,  # type: ignore[arg-type] # any number of seconds
            # One attempt for each server: trying again is the lane's matter.
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            pending_size=0,  # nothing is kept for a later connection, and publishing never waits
        )
        if not self._client.is_connected:  # hung up on in place of an answer to the login
            raise ConnectionAbortedError("the server hung up")
        login.check_tls()
        self.trouble = None  # of a server that another one stood in for
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._take_answer)
        await self._client.flush()  # the server has judged the subscription
        if self.trouble is not None:
            raise self.trouble

    @property
    def usable(self) -> bool:
        """Whether nothing has gone wrong."""
        return self.trouble is None

    @property
    def max_payload(self) -> int:
        """Bytes of the largest message that the server takes."""
        return self._client.max_payload

    @property
    def denied(self) -> bool:
        """Whether the trouble is that this user may not do something."""
        return _PERMISSIONS in str(self.trouble).lower()

    def stream_api(self) -> JetStreamContext:
        """The API of streams; to be used within `listening`."""
        return self._client.jetstream(timeout=self._timeout_s)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """TimeoutError once something is wrong, so that nobody waits for an answer that the server will not give."""
        try:
            async with asyncio.timeout(self._timeout_s) as self._waiting:
                yield
        finally:
            self._waiting = None

    async def publish(self, subject: str, messages: Mapping[int, Message]) -> Mapping[int, Answer]:
        """Send messages in their order, and wait for what is said to each.

        Returns the answers by the messages' keys. One that is missing was not given in time, or `trouble` says why.
        """
        self._open, self._answers = {}, {}
        self._settled.clear()
        try:
            for index, message in messages.items():
                number = str(next(self._numbers))
                self._open[number] = index
                await self._client.publish(
                    subject, message.body, reply=f"{self._inbox}.{number}", headers=dict(message.headers)
                )
        except Error as exc:
            await self._note(exc)
        if messages and self.trouble is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await self._settled.wait()
        return self._answers

    async def close(self) -> None:
        """Release everything, without waiting for a server that hangs."""
        await self._note_end()
        # The client asserts that it has been told to connect; it may not have come to that.
        with contextlib.suppress(TimeoutError, Error, OSError, AssertionError):
            async with asyncio.timeout(_CLOSE_S):
                await self._client.close()

    async def _take_answer(self, message: Msg) -> None:
        index = self._open.pop(message.subject.rpartition(".")[2], None)
        if index is None:  # of a delivery that was cancelled
            return
        self._answers[index] = _answer(message)
        if not self._open:
            self._settled.set()

    async def _note(self, exc: Exception) -> None:
        self.trouble = self.trouble or exc
        self._settled.set()
        if self._waiting is not None:
            self._waiting.reschedule(0)

    async def _note_end(self) -> None:
        await self._note(ConnectionAbortedError("the connection is closed"))


def _answer(message: Msg) -> Answer:
    if message.headers and message.headers.get("Status") == _NO_RESPONDERS:
        return NO_STREAM
    try:
        return _DECODER.decode(message.data)
    except msgspec.MsgspecError:
        return _UNREADABLE
