"""The credentials of the sink: none, a bearer token, a user with a password, or an OAuth 2.0 client (RFC 6749, 4.4)."""

import asyncio
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote_plus, urlencode

import msgspec
from aiohttp import hdrs
from yarl import URL

from listener.config.login import secret_of
from listener.errors import UNDECODABLE, Outcome, Park, Retry
from listener.runtime.urls import told
from listener.sinks.registry import SinkContext
from listener.sinks.webhook.endpoint import Answer, Endpoint, Failure
from listener.sinks.webhook.settings import OAuth2Settings, WebhookSettings, is_header_value

_SCHEME = "Bearer"  # RFC 6750
_MARGIN_S = 60.0
_FOR_A_PERSON = range(300, 500)
_FOR_LATER = {408, 425, 429}


class Credentials(Protocol):
    """What goes with every request."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Those that say it, as of the last `prepare` or `renew`."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What an answer may quote of them beside the headers."""

    async def prepare(self) -> None:
        """Have them at hand, once a batch. Raises Retry or Park."""

    async def renew(self, refused: Mapping[str, str], failure: Failure, /) -> Failure | None:
        """What to make of a request with the headers `refused` that was answered 401.

        Returns None if there are others now, to be tried once; else the failure that this one becomes.
        """


def basic(user: str, password: str) -> str:
    """The value of `Authorization` for a user and a password in UTF-8 (RFC 7617)."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


class FixedCredentials:
    """Those of the configuration; files are reread for each batch, so that a rotated secret needs no restart.

    Args:
        context: the sink's surroundings.
        settings: its keys.
    """

    def __init__(self, context: SinkContext, settings: WebhookSettings) -> None:
        self._context = context
        self._settings = settings
        self.headers: Mapping[str, str] = {}
        self.secrets: tuple[str, ...] = ()

    async def prepare(self) -> None:
        """See `Credentials`. Raises Retry: a file holds none."""
        settings = self._settings
        if settings.username is not None:
            password = await settings.password_now(self._context) or ""
            self.secrets = (password,)
            self.headers = {hdrs.AUTHORIZATION: basic(settings.username, password)}
            return
        token = await secret_of(
            self._context, "bearer_token", inline=settings.bearer_token, file=settings.bearer_token_file
        )
        if token is not None and not is_header_value(token):
            raise Retry(f"{self._context.setting('bearer_token_file')}: contains control characters instead of a token")
        self.headers = {hdrs.AUTHORIZATION: f"{_SCHEME} {token}"} if token is not None else {}

    async def renew(self, _refused: Mapping[str, str], failure: Failure, /) -> Failure | None:
        """See `Credentials`: there are no others."""
        return failure


class _Token(msgspec.Struct):
    """RFC 6749, 5.1. Some servers write the lifetime as a text."""

    access_token: str
    token_type: str = _SCHEME
    expires_in: float | str | None = None


class _Error(msgspec.Struct):
    """RFC 6749, 5.2."""

    error: str = ""


class AccessTokens:
    """Fetches a token and keeps it until shortly before it expires, or until it is refused. One fetch at a time.

    Args:
        context: the sink's surroundings.
        settings: where tokens come from.
        endpoint: what the token endpoint is asked through.
    """

    def __init__(
        self,
        context: SinkContext,
        settings: OAuth2Settings,
        endpoint: Endpoint,
    ) -> None:
        self._context = context
        self._settings = settings
        self._endpoint = endpoint
        self._url = URL(settings.token_url, encoded=settings.token_url.isascii())
        self._monotonic = context.host.clock.monotonic_s
        self._fetching = asyncio.Lock()
        self._fresh_until_s = 0.0
        self._failed: Failure | None = None
        self.headers: Mapping[str, str] = {}
        self.secrets: tuple[str, ...] = ()

    async def prepare(self) -> None:
        """See `Credentials`. Raises Retry or Park: there is no token."""
        async with self._fetching:
            if self.headers and self._monotonic() < self._fresh_until_s:
                return
            self._failed = await self._fetch()
        if self._failed is not None:
            raise self._failed.outcome(after_s=self._failed.after_s)

    async def renew(self, refused: Mapping[str, str], _failure: Failure, /) -> Failure | None:
        """See `Credentials`: a token that was refused is replaced once, whoever of several requests tells first."""
        async with self._fetching:
            if self.headers == refused:
                self._failed = await self._fetch()
            return self._failed

    async def _fetch(self) -> Failure | None:
        try:
            headers, body = await self._request()
        except Retry as exc:
            answer: Answer | Failure = Failure(text=exc.reason)
        else:
            answer = await self._endpoint.exchange(hdrs.METH_POST, self._url, headers, body)
        failure = answer if isinstance(answer, Failure) else self._take(answer)
        if failure is not None:
            self.headers = {}
        return failure

    async def _request(self) -> tuple[dict[str, str], bytes]:
        settings = self._settings
        inline, file = settings.client_secret, settings.client_secret_file
        secret = await secret_of(self._context, "oauth2.client_secret", inline=inline, file=file) or ""
        self.secrets = (secret,)
        form = {"grant_type": "client_credentials", "scope": settings.scope, "audience": settings.audience}
        headers: dict[str, str] = {
            hdrs.CONTENT_TYPE: "application/x-www-form-urlencoded",
            hdrs.ACCEPT: "application/json",
        }
        if settings.client_auth == "basic":  # RFC 6749, 2.3.1: both parts are encoded as in a form before
            headers[hdrs.AUTHORIZATION] = basic(quote_plus(settings.client_id), quote_plus(secret))
        else:
            form |= {"client_id": settings.client_id, "client_secret": secret}
        return headers, urlencode({key: value for key, value in form.items() if value is not None}).encode()

    def _take(self, answer: Answer) -> Failure | None:
        if not answer.ok:
            return self._refusal(answer)
        try:
            token = msgspec.json.decode(answer.body, type=_Token)
            lifetime_s = float(token.expires_in) if token.expires_in is not None else float("inf")
        except (*UNDECODABLE, ValueError):
            return self._failure("answered without a token")
        if token.token_type.lower() != _SCHEME.lower() or not is_header_value(token.access_token):
            return self._failure("answered without a bearer token")
        self.headers = {hdrs.AUTHORIZATION: f"{_SCHEME} {token.access_token}"}
        self._fresh_until_s = self._monotonic() + lifetime_s - min(_MARGIN_S, lifetime_s / 10)
        return None

    def _refusal(self, answer: Answer) -> Failure:
        try:
            error = msgspec.json.decode(answer.body, type=_Error).error
        except UNDECODABLE:
            error = ""
        why = f": {error}" if re.fullmatch(r"[a-z_]{1,50}", error) else ""  # a code, not a text that may quote
        for_a_person = answer.status in _FOR_A_PERSON and answer.status not in _FOR_LATER
        text = f"answered {answer.status}{why}"
        return self._failure(text, verdict=Park if for_a_person else Retry, after_s=answer.after_s)

    def _failure(self, text: str, *, verdict: type[Outcome] = Retry, after_s: float | None = None) -> Failure:
        return Failure(text=f"the token endpoint {told(self._url)} {text}", verdict=verdict, after_s=after_s)
