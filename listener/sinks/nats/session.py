"""One connection to a NATS server: connecting, publishing, and the answers of JetStream."""

import asyncio
import contextlib
import itertools
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
from nats.aio.client import Client, RawCredentials
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js import JetStreamContext, api

from listener.config.login import secret_of
from listener.config.schema import text_in
from listener.errors import UNDECODABLE, Park, Retry
from listener.sinks.nats.settings import NatsSettings
from listener.sinks.registry import SinkContext
from listener.sinks.session import expire

_SEED = "SU[A-Z2-7]{56}"

_FORMATS = {
    "seed": ("nkey_file", _SEED, "the nkey seed of a user"),
    "credentials": (
        "credentials_file",
        rf".*BEGIN NATS USER JWT-+\s+\S+\s.*BEGIN USER NKEY SEED-+\s+{_SEED}\s.*",
        "a user JWT and its nkey seed",
    ),
}
_CLOSE_S = 1.0
_NO_RESPONDERS = "503"  # the status of a message that nobody has subscribed to (nats-architecture-and-design ADR-4)
_PERMISSIONS = "permissions violation"

# Error codes of the JetStream API (nats-server, server/errors.json).
_STREAM_NOT_FOUND = 10059
_TOO_LARGE = {10054, 10097}
_NEED_A_PERSON = {_STREAM_NOT_FOUND, 10060, 10109, 10039, 10076}  # another stream's subject, sealed, not enabled (two)


class NoTlsError(Exception):
    """TLS is a must, and the server, or somebody in between, offers none. Nothing has been sent."""

    def __init__(self) -> None:
        super().__init__("tls:// is required but not offered")


class Login:
    """What one connection is made with.

    The client takes the server's word for it whether there is TLS, and so might somebody in between who wants the
    password: hence it gets credentials only once a handshake has succeeded.

    Attributes:
        options: arguments of `Client.connect`.
    """

    def __init__(self, *, settings: NatsSettings, tls: ssl.SSLContext, secrets: dict[str, str]) -> None:
        self._tls_only = settings.tls_only
        self._encrypted = _handshakes_of(tls)
        self.options: dict[str, Any] = {
            "servers": list(settings.servers),
            "tls": tls,
            **{key: self._careful(secret) for key, secret in secrets.items() if key in ("user", "password", "token")},
        }
        if "seed" in secrets:
            self.options["nkeys_seed_str"] = secrets["seed"]
        if "credentials" in secrets:
            self.options["user_credentials"] = RawCredentials(secrets["credentials"])

    def check_tls(self) -> None:
        """Raise NoTlsError where there should be TLS and is none."""
        if self._tls_only and not self._encrypted():
            raise NoTlsError

    def _careful(self, secret: str) -> Callable[[], str]:
        def give() -> str:
            self.check_tls()
            return secret

        return give


async def login_of(context: SinkContext, settings: NatsSettings) -> Login:
    """Read certificates and secrets anew.

    Raises:
        Retry: a file cannot be used now; it may be in the middle of a rotation.
        StartError: the same of a certificate.
    """
    tls = await asyncio.to_thread(settings.ssl_context, context)
    return Login(settings=settings, tls=tls, secrets=await _secrets(context, settings))


async def _secrets(context: SinkContext, settings: NatsSettings) -> dict[str, str]:
    if settings.username is not None:
        return {"user": settings.username, "password": await settings.password_now(context) or ""}
    found = {
        "token": await secret_of(context, "token", inline=settings.token, file=settings.token_file),
        "seed": await secret_of(context, "nkey", inline=None, file=settings.nkey_file, read=text_in),
        "credentials": await secret_of(
            context, "credentials", inline=None, file=settings.credentials_file, read=text_in
        ),
    }
    given = {key: secret for key, secret in found.items() if secret is not None}
    _check_format(context, given)
    return given


def _check_format(context: SinkContext, secrets: dict[str, str]) -> None:
    """The client reads on for ever in credentials that are cut off, and tells nothing of a seed that is none."""
    for key, secret in secrets.items():
        setting, pattern, words = _FORMATS.get(key, ("", ".*", ""))
        if not re.fullmatch(pattern, secret, re.DOTALL):
            raise Retry(f"{context.setting(setting)}: does not hold {words}")


def _handshakes_of(tls: ssl.SSLContext) -> Callable[[], bool]:
    """Whether a TLS handshake has succeeded with this context so far."""
    succeeded: list[bool] = []

    class Noted(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            succeeded.append(True)

    tls.sslobject_class = Noted
    return lambda: bool(succeeded)


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
    """The error that JetStream answered with."""

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


NO_STREAM = Answer(ApiError(code=503, description="no stream has the subject"))
"""What stands for the answer where nobody listens to the subject."""


_DECODER = msgspec.json.Decoder(Answer)


_UNREADABLE = Answer(ApiError(code=500, description="the acknowledgement is not JSON"))


class Session:
    """A connection that is used until something is wrong with it, and then given up.

    Args:
        timeout_s: for the answers to what is published at once.

    Attributes:
        trouble: the first thing that went wrong, None while nothing has.
        stream: what whoever connected has learnt of the stream; None if this user may not ask.
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
            raise ConnectionAbortedError("the server closed the connection")
        login.check_tls()
        self.trouble = None  # of a server that another one stood in for
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._take_answer)
        await self._client.flush()  # its ping overtakes the subscription, which has been sent once that is answered
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
        expire(self._waiting)

    async def _note_end(self) -> None:
        await self._note(ConnectionAbortedError("the connection is closed"))


def _answer(message: Msg) -> Answer:
    if message.headers and message.headers.get("Status") == _NO_RESPONDERS:
        return NO_STREAM
    try:
        return _DECODER.decode(message.data)
    except UNDECODABLE:
        return _UNREADABLE
