"""The `webhook` sink: one CloudEvents request per event, several chats at once, each chat's events in order."""

import asyncio
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from aiohttp import (
    ClientError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
    hdrs,
)
from pydantic import AfterValidator, Field, SecretStr, model_validator
from yarl import URL

from listener import __version__
from listener.backoff import retry_after_s
from listener.errors import Outcome, Park, Refusal, Reject, Retry, StartError
from listener.model import Event
from listener.ports import Sink
from listener.schema import InputFile, Section, Url
from listener.sinks.registry import SinkContext, SinkKind

_BODY_BYTES = 64 * 1024
_TEXT_CHARACTERS = 1000
_LONGEST_WAIT_S = 86_400.0
_OURS = {"content-type", "content-length", "transfer-encoding", "host", "accept-encoding"}

# A person must act: the address, the credentials or the receiver's configuration are wrong for every event alike.
_PARKS = {401, 403, 404, 407, 410}
# What an ingress or a half-started service says in place of a receiver that is being replaced; it passes by itself.
_STAND_INS = {405, 406, 426}
_RETRIES = {408, 425, 429, *_STAND_INS}


def _header_names(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() in _OURS:
            raise ValueError(f"{name!r} cannot be set")
        _header_value(value)
    return headers


def _header_value(value: SecretStr) -> SecretStr:
    if not value.get_secret_value() or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value.get_secret_value()):
        raise ValueError("the value of a header is not empty and holds no control characters")
    return value


class WebhookSettings(Section):
    """Keys of a sink of type `webhook`. `concurrency` is the number of chats in flight at once."""

    url: Url
    method: Literal["POST", "PUT"] = "POST"
    timeout_s: float = Field(default=10.0, gt=0)
    concurrency: int = Field(default=4, ge=1, le=256)
    headers: Annotated[dict[str, SecretStr], AfterValidator(_header_names)] = Field(default_factory=dict)
    bearer_token: Annotated[SecretStr, AfterValidator(_header_value)] | None = None
    bearer_token_file: InputFile | None = None
    verify: bool = True
    ca_file: InputFile | None = None

    @model_validator(mode="after")
    def _one_authorization(self) -> Self:
        given = ["headers.Authorization" for name in self.headers if name.lower() == "authorization"]
        given += [key for key in ("bearer_token", "bearer_token_file") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}")
        return self


class WebhookSink:
    """Sends each event with a request of its own; a status of 2xx makes it durable.

    An answer that judges one event for good leaves its chat going, one that may change holds the chat, and both leave
    the other chats going. Trouble that meets them all (no answer, a named time to wait, a Park) lets what is in flight
    finish and begins nothing more in this call. Can be opened again after `close`.

    Args:
        context: the sink's name and the base of relative paths.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: WebhookSettings) -> None:
        self._context = context
        self._settings = settings
        self._url = URL(settings.url, encoded=settings.url.isascii())  # sent as written: it may be signed
        self._session: ClientSession | None = None

    async def open(self) -> None:
        """See `ports.Sink`. Reaches nobody yet."""
        await self.close()
        settings = self._settings
        headers: dict[str, str] = {
            hdrs.USER_AGENT: f"disposition-listener/{__version__}",
            hdrs.ACCEPT_ENCODING: "identity",
        }
        headers |= {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._session = ClientSession(
            connector=TCPConnector(limit=settings.concurrency, ssl=self._tls()),
            timeout=ClientTimeout(total=settings.timeout_s),
            headers=headers,
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,  # a small answer must not grow in our memory
        )

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. Of several outcomes one is raised: Reject before Park before Retry.

        The lane learns at once of every event that is judged, and so sends none of them again; the trouble of the rest
        is still there in the next call.
        """
        authorization = await self._authorization()
        progress = Progress(events)
        async with asyncio.TaskGroup() as group:
            for number in range(min(self._settings.concurrency, progress.chats)):
                name = f"webhook-{self._context.name}-{number}"
                group.create_task(self._work(progress, authorization), name=name)
        progress.raise_outcome()

    async def check(self) -> None:
        """See `ports.Sink`: an OPTIONS request; whatever is answered, except 401 and 403, means that it is there."""
        opened = self._session is None
        if opened:
            await self.open()
        try:
            failure = await self._request(hdrs.METH_OPTIONS, None, await self._authorization())
        finally:
            if opened:
                await self.close()
        if failure is not None and (failure.status is None or failure.status in (401, 403)):
            raise failure.outcome()

    async def close(self) -> None:
        """See `ports.Sink`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _work(self, progress: "Progress", authorization: Mapping[str, str]) -> None:
        """Take chat after chat; stop with a chat at the first event that has to come again."""
        for chat in progress.remaining():
            for index in chat:
                if progress.stopped:
                    return
                body = self._context.form.body(progress.events[index])
                failure = await self._request(self._settings.method, body, authorization)
                if failure is None:
                    progress.delivered.add(index)
                elif not progress.goes_on(index, failure):
                    break

    async def _request(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> "Failure | None":
        """One request; None is success. Redirects are not followed: they would take the credentials elsewhere."""
        if self._session is None:
            return Failure(text=f"sinks.{self._context.name} is not open")
        sent = dict(headers) if body is None else {**headers, hdrs.CONTENT_TYPE: self._context.form.content_type}
        try:
            async with self._session.request(
                method, self._url, data=body, headers=sent, allow_redirects=False
            ) as response:
                return await self._judge(response, headers)
        except TimeoutError:
            return Failure(text=f"{self._place} did not answer within {self._settings.timeout_s:g} s")
        except ClientResponseError as exc:  # its text would quote the whole URL, its message the answer
            text = f"{self._place} does not answer in HTTP"
            return Failure(text=text, detail=self._without_secrets(_one_line(exc.message), headers))
        except ServerDisconnectedError:  # its text may be the beginning of the answer
            return Failure(text=f"{self._place} closed the connection instead of answering")
        except (ClientError, OSError) as exc:
            return Failure(text=f"{self._place} cannot be reached: {_one_line(str(exc)) or type(exc).__name__}")

    async def _judge(self, response: ClientResponse, sent: Mapping[str, str]) -> "Failure | None":
        """The status decides alone; the body is read to keep the connection, and quoted where it explains a failure."""
        try:
            body = await _read(response)
        except (ClientError, OSError, TimeoutError):
            body = b""
        if response.ok and response.status < 300:  # noqa: PLR2004 - the class of the status
            return None
        return Failure(
            text=f"{self._place} answered {response.status}",
            detail=self._without_secrets(_one_line(body.decode("utf-8", "replace")), sent),
            status=response.status,
            after_s=retry_after_s(response.headers.get(hdrs.RETRY_AFTER), limit_s=_LONGEST_WAIT_S),
        )

    def _without_secrets(self, text: str, sent: Mapping[str, str]) -> str:
        """Some receivers quote the request in their answer: a header whole, or the credential behind its scheme."""
        values = [*(value.get_secret_value() for value in self._settings.headers.values()), *sent.values()]
        secrets = {*values, *(word for value in values for word in value.split())}
        longest_first = sorted(secrets, key=len, reverse=True)  # a short one may be a part of a long one
        if secrets:
            text = re.sub("|".join(map(re.escape, longest_first)), "***", text)
        return text[:_TEXT_CHARACTERS]

    @property
    def _place(self) -> str:
        """Host and port alone: paths and query strings of webhooks often are their secret."""
        return f"{self._url.host}:{self._url.port}"

    async def _authorization(self) -> dict[str, str]:
        """The bearer token; a file is read anew for each batch, so that a rotated token needs no restart."""
        token = self._settings.bearer_token.get_secret_value() if self._settings.bearer_token is not None else ""
        if self._settings.bearer_token_file is not None:
            path = self._context.base / self._settings.bearer_token_file
            try:
                token = (await asyncio.to_thread(path.read_text, encoding="utf-8")).strip()
                _header_value(SecretStr(token))
            except (OSError, ValueError) as exc:
                raise Retry(f"{self._context.setting('bearer_token_file')}: no token in {path}") from exc
        return {hdrs.AUTHORIZATION: f"Bearer {token}"} if token else {}

    def _tls(self) -> ssl.SSLContext | bool:
        if self._url.scheme == "http" or not self._settings.verify:
            return False
        try:
            path = self._settings.ca_file
            return ssl.create_default_context(cafile=self._context.base / path if path is not None else None)
        except OSError as exc:
            raise StartError(f"{self._context.setting('ca_file')}: no usable certificate: {exc}") from exc


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What came of a request that did not succeed.

    `status` is None where nobody answered. `detail` quotes the answer, which often quotes the event: not for a log.
    """

    text: str
    detail: str = ""
    status: int | None = None
    after_s: float | None = None

    @property
    def kind(self) -> type[Outcome]:
        """The one place that tells a passing failure from a wrong event and from work for a person."""
        if self.status is None or self.status >= 500 or self.status in _RETRIES:  # noqa: PLR2004 - the class of the status
            return Retry
        if self.status < 400 or self.status in _PARKS:  # noqa: PLR2004 - a redirect: the address is wrong
            return Park
        return Reject

    @property
    def meets_all(self) -> bool:
        """Whether the next request would fare the same, whatever event it carries."""
        if self.kind is Retry:
            return self.status is None or self.status in _STAND_INS or self.after_s is not None
        return self.kind is Park

    def outcome(self, delivered: frozenset[int] = frozenset(), after_s: float | None = None) -> Park | Retry:
        """As the error that `deliver` raises, of a failure that is no Reject."""
        if self.kind is Park:
            return Park(self.text, delivered=delivered, detail=self.detail)
        return Retry(self.text, after_s=after_s, delivered=delivered, detail=self.detail)


class Progress:
    """One call of `deliver`: the batch by chat, what is delivered, what failed.

    Args:
        events: the batch. Gaps, whose subject is an account, are kept apart from the chats.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.delivered: set[int] = set()
        self.stopped = False
        self._failures: dict[int, Failure] = {}
        by_chat: dict[tuple[str, str], list[int]] = {}
        for index, event in enumerate(events):
            by_chat.setdefault((event.kind, event.subject), []).append(index)
        self.chats = len(by_chat)
        self._remaining = iter(by_chat.values())

    def remaining(self) -> Iterator[list[int]]:
        """The indexes of chats that no worker has taken yet; shared by all workers."""
        return self._remaining

    def goes_on(self, index: int, failure: Failure) -> bool:
        """Note a failure, which may end the call for all chats; tells whether the chat's next event may be sent."""
        self._failures[index] = failure
        self.stopped = self.stopped or failure.meets_all
        return failure.kind is Reject

    def raise_outcome(self) -> None:
        """Raise what the lane must know first; nothing where every event is delivered."""
        delivered = frozenset(self.delivered)
        if judged := self._of(Reject):
            first = min(judged)
            failure = judged.pop(first)
            others = {index: Refusal(other.text, other.detail) for index, other in judged.items()}
            raise Reject(first, failure.text, rejected=others, delivered=delivered, detail=failure.detail)
        for found in (self._of(Park), self._of(Retry)):
            if found:
                waits = [failure.after_s for failure in found.values() if failure.after_s is not None]
                raise found[min(found)].outcome(delivered, max(waits, default=None))

    def _of(self, kind: type[Outcome]) -> dict[int, Failure]:
        return {index: failure for index, failure in self._failures.items() if failure.kind is kind}


async def _read(response: ClientResponse) -> bytes:
    """At most the first 64 KiB of a body; a connection with more to come is closed on release."""
    body = b""
    while len(body) < _BODY_BYTES and (block := await response.content.read(_BODY_BYTES - len(body))):
        body += block
    return body


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _build(context: SinkContext, settings: WebhookSettings) -> Sink:
    return WebhookSink(context=context, settings=settings)


# Longer than a weekend: whoever comes on Monday still finds a receiver to be mended, not letters to be replayed.
KIND = SinkKind(name="webhook", settings=WebhookSettings, build=_build, retry_horizon_s=75 * 3600.0)
