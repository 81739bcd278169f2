"""The HTTP client of this sink: no redirects, no cookies, bounded answers, and the meaning of failures."""

import asyncio
import re
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiohttp import ClientConnectorError, ClientError, ClientResponse, ClientResponseError, ClientSession, hdrs
from yarl import URL

from listener import __version__
from listener.config.login import secret_of
from listener.errors import UNDECODABLE, Outcome, Park, Reject, Retry, StartError
from listener.runtime.backoff import retry_after_s
from listener.runtime.http_client import Connector, bare, describe, new_proxy, new_session, one_line
from listener.runtime.urls import told
from listener.sinks.registry import SinkContext
from listener.sinks.webhook.addresses import AddressDenied, public_socket
from listener.sinks.webhook.settings import WebhookSettings

_TEXT_CHARACTERS = 1000
_WORDS_CHARACTERS = 100

# The classes of statuses (RFC 9110, 15).
_SUCCESS = range(200, 300)
_REFUSAL, _FAULT = 400, 500

# A person must act: the address, the credentials or the receiver's configuration are wrong for every event alike.
_GONE = 410
_PARKS = {401, 403, 404, 407, _GONE, 415}

# What an ingress or a half-started service says in place of a receiver that is being replaced; it passes by itself.
_STAND_INS = {405, 406, 426}
_RETRIES = {408, 425, 429, *_STAND_INS}
_BODY_BYTES = 64 * 1024
_FOR_EVER_S = 1e10  # how much of a pause is kept is for the lane to say


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What came of a request that did not succeed.

    `status` is None if nobody answered; `verdict` is what it means where the status does not tell. `detail` quotes
    the answer, which often quotes the event: not for a log.
    """

    text: str
    detail: str = ""
    status: int | None = None
    after_s: float | None = None
    verdict: type[Outcome] | None = None

    @property
    def kind(self) -> type[Outcome]:
        """The one place that tells a passing failure from a wrong event and from work for a person."""
        if self.verdict is not None:
            return self.verdict
        if self.status is None or self.status in _RETRIES or self.status >= _FAULT:
            return Retry
        if self.status in _PARKS or self.status < _REFUSAL:  # a redirect: the address is wrong
            return Park
        return Reject

    @property
    def affects_all(self) -> bool:
        """Whether the next request would fare the same, whatever event it carries."""
        if self.kind is Retry:
            return self.status is None or self.status in _STAND_INS or self.after_s is not None
        return self.kind is Park

    def outcome(self, delivered: frozenset[int] = frozenset(), after_s: float | None = None) -> Park | Retry:
        """As the error that `deliver` raises, of a failure that is no Reject."""
        if self.kind is Park:
            gone = self.status == _GONE
            text = f"{self.text}: the endpoint is gone, so the sink is disabled" if gone else self.text
            return Park(text, disabled=gone, delivered=delivered, detail=self.detail)
        return Retry(self.text, after_s=after_s, delivered=delivered, detail=self.detail)


def quoted(text: str, secrets: Iterable[str]) -> str:
    """What somebody else said, on one short line and without secrets.

    Some receivers quote the request in their answer: a secret header whole, or the credential behind its scheme.
    """
    words = {*(secrets := [*secrets]), *(word for secret in secrets for word in secret.split())} - {""}
    line = one_line(text)
    if words:
        longest_first = sorted(words, key=len, reverse=True)  # a short one may be a part of a long one
        line = re.sub("|".join(map(re.escape, longest_first)), "***", line)
    return line[:_TEXT_CHARACTERS]


class _Said(msgspec.Struct):
    """What of a JSON answer describes the kind of a failure and not the event: RFC 9457, 3.1.4; RFC 6749, 5.2."""

    title: str | None = None
    error: str | None = None


def words_of(answer: "Answer") -> str:
    """What the receiver says in words that quote no event: the title of a problem, or the code of an error."""
    try:
        said = msgspec.json.decode(answer.body, type=_Said)
    except UNDECODABLE:
        return ""
    if answer.headers.get(hdrs.CONTENT_TYPE, "").startswith("application/problem+json") and said.title:
        return said.title[:_WORDS_CHARACTERS]
    return said.error if said.error and re.fullmatch(r"[A-Za-z_]{1,50}", said.error) else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A response. `after_s` is the pause that it names (Retry-After), in seconds; `body` its first 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    after_s: float | None = None

    @property
    def ok(self) -> bool:
        """Whether its status is one of success."""
        return self.status in _SUCCESS


class Endpoint:
    """The connections of one sink. Can be opened again after `close`.

    Args:
        context: the sink's surroundings.
        settings: its keys.
    """

    def __init__(self, context: SinkContext, settings: WebhookSettings) -> None:
        self._context = context
        self._settings = settings
        self._session: ClientSession | None = None
        self._stamp: tuple[object, ...] = ()

    async def open(self) -> None:
        """Get ready, with the certificates and the proxy's password of this moment; reaches nobody yet.

        Raises:
            StartError: a certificate is unusable.
            Retry: there is no password in its file.
        """
        stamp = self._stamp_of_files()
        file = self._settings.proxy_password_file
        password = await secret_of(self._context, "proxy_password", inline=None, file=file)
        tls = await asyncio.to_thread(self._tls)
        await self.close()
        settings = self._settings
        headers: dict[str, str] = {
            hdrs.USER_AGENT: f"disposition-listener/{__version__}",
            hdrs.ACCEPT_ENCODING: "identity",
        }
        if settings.origin is not None:
            headers["WebHook-Request-Origin"] = settings.origin
        self._stamp = stamp
        connector = Connector(
            limit=settings.concurrency,
            tls=tls,
            proxy=new_proxy(settings.proxy, user=settings.proxy_user, password=password or ""),
            new_socket=public_socket if settings.deny_private_networks else None,
        )
        self._session = new_session(connector, timeout_s=settings.timeout_s, headers=headers)

    async def renew(self) -> None:
        """Take up files that were replaced since `open`. Unusable ones may be half written: the old stay."""
        if self._session is not None and self._stamp_of_files() != self._stamp:
            with suppress(StartError, Retry):
                await self.open()

    async def close(self) -> None:
        """End all connections. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def is_open(self) -> bool:
        """Whether it is between `open` and `close`."""
        return self._session is not None

    async def exchange(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None) -> Answer | Failure:
        """One request. Redirects are not followed: they would take the credentials elsewhere."""
        if self._session is None:
            return Failure(text=f"sinks.{self._context.name} is not open")
        try:
            async with self._session.request(
                method, url, data=body, headers=headers, allow_redirects=False
            ) as response:
                named = response.headers.get(hdrs.RETRY_AFTER)
                return Answer(
                    status=response.status,
                    headers=response.headers,
                    body=await _read(response),
                    after_s=retry_after_s(named, limit_s=_FOR_EVER_S, now_s=self._context.host.time_s),
                )
        except (ClientError, OSError) as exc:
            return self._no_answer(url, bare(exc))

    def _no_answer(self, url: URL, exc: Exception) -> Failure:
        where, detail, verdict = told(url), "", None
        match exc:
            case TimeoutError():
                text = f"{where} did not answer within {self._settings.timeout_s:g} s"
            case ClientConnectorError(os_error=AddressDenied() as denied):
                text, verdict = f"{where} is not called: {denied}", Park
            case _:
                oauth2 = self._settings.oauth2
                at_issuer = oauth2 is not None and url == URL(oauth2.token_url, encoded=oauth2.token_url.isascii())
                key = "oauth2.token_url" if at_issuer else "url"
                text = describe(exc, peer=where, table=f"sinks.{self._context.name}", url_key=key)
                detail = exc.message if isinstance(exc, ClientResponseError) else ""  # it may quote the answer
        return Failure(text=text, detail=detail, verdict=verdict)

    def _tls(self) -> ssl.SSLContext | bool:
        settings = self._settings
        urls = [settings.url, *([settings.oauth2.token_url] if settings.oauth2 is not None else [])]
        if all(URL(url).scheme == "http" for url in urls):
            return True
        return settings.ssl_context(self._context)

    def _stamp_of_files(self) -> tuple[object, ...]:
        settings = self._settings
        files = (
            *(settings.ca_file, settings.client_cert_file, settings.client_key_file),
            settings.proxy_password_file,
        )
        return tuple(_stamp(self._context.base / file) for file in files if file is not None)


def _stamp(path: Path) -> object:
    """What changes when a file is replaced or written."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


async def _read(response: ClientResponse) -> bytes:
    """The beginning of a body; a connection with more to come is closed on release. The status decides without it."""
    body = b""
    try:
        while len(body) < _BODY_BYTES and (block := await response.content.read(_BODY_BYTES - len(body))):
            body += block
    except (ClientError, OSError, TimeoutError) as exc:
        bare(exc)
    return body
