"""One account's REST side: login, session cookie, CSRF token, the agent's chats, emails and calls, SetDisposition."""

import asyncio
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
import structlog
from yarl import URL

from listener.errors import (
    CsrfRejected,
    LoginRefused,
    ParameterInvalid,
    ServerFault,
    WebServicesError,
)
from listener.model.media import CHAT, MediaType
from listener.runtime.host import THIS_HOST
from listener.runtime.http_client import bare
from listener.runtime.urls import told
from listener.runtime.visitor import Http
from listener.webservices import csrf
from listener.webservices.answers import PARTIAL, SMALL_BYTES, Reply, check, decode, elements, read_or_none, unanswered
from listener.webservices.media import A_CHAT, MEDIA, Target
from listener.webservices.skew import ClockSkew

ME = "/api/v2/me"
SESSION_COOKIE = "JSESSIONID"
MAX_BODY_BYTES = 4 * 2**20
MOST_CHATS = 2000
"""An agent has a few. More would take the event loop too long."""
_NOT_HONOURED = (
    "right after a login was granted: the login cookie is not honoured (two nodes without stickiness, or a cookie that"
    " is lost on the way), or this agent may not do this"
)
_SHOWN_CHARS = 100
_log = structlog.get_logger(__name__)
VERSION = "/api/v2/diagnostics/version"


class Session:
    """The HTTP session of one account; see `client.WebServices` for the arguments.

    The session cookie is the login; it is kept in the jar of `http`. When the server does not know it (any more), a
    call logs in and is repeated once. Callers that need a login at the same moment share one, its failure too: a wrong
    password is not tried a hundred times.
    """

    __slots__ = (
        "_base",
        "_channels",
        "_csrf",
        "_failure",
        "_http",
        "_lock",
        "_logins",
        "_on_login",
        "_password",
        "_refused_header_told",
        "_server",
        "_skew",
        "_start_contact_center_session",
        "_time_s",
        "_timeout_s",
        "_username",
    )

    def __init__(
        self,
        *,
        url: str,
        username: str,
        password: Callable[[], str],
        http: Http,
        request_timeout_s: float,
        start_contact_center_session: bool,
        channels: Sequence[str],
        on_login: Callable[[str], None],
        time_s: Callable[[], float],
        skew: ClockSkew,
    ) -> None:
        base = URL(url)
        self._base = str(base).rstrip("/")
        self._server = told(base)
        self._username = username
        self._password = password
        self._http = http
        self._timeout_s = request_timeout_s
        self._start_contact_center_session = start_contact_center_session
        self._channels = channels
        self._on_login = on_login
        self._time_s = time_s
        self._skew = skew
        self._refused_header_told = False
        self._csrf: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._logins = 0  # finished ones; whoever waited for the lock sees that one finished meanwhile
        self._failure: WebServicesError | None = None

    def headers(self) -> dict[str, str]:
        """What every POST of this session must carry now, CometD's too: the CSRF header, if the server uses one."""
        return dict(self._csrf)

    async def login(self) -> None:
        """Log in afresh, or share a login that is under way.

        Raises:
            LoginRefused: the server refuses the user, or the password cannot be read.
        """
        await self._log_in_once(self._logins)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes | None = None,
        most_bytes: int = MAX_BODY_BYTES,
    ) -> Reply:
        """One exchange; if the server does not accept the session, a renewal and one more."""
        logins, sent = self._logins, self._csrf
        exchange = partial(self._exchange, method, path, query=query, body=body, most_bytes=most_bytes)
        try:
            return await exchange()
        except CsrfRejected:
            await self._renew_csrf(sent, logins)
            return await exchange()
        except LoginRefused:
            await self._log_in_once(logins)
        try:
            return await exchange()
        except LoginRefused as exc:
            raise _not_honoured(exc) from exc

    async def _renew_csrf(self, rejected: dict[str, str], logins: int) -> None:
        """Fetch the token of this session; without a session, or with the same token again, log in."""
        async with self._lock:
            if self._csrf != rejected:
                return
            try:
                await self._exchange("GET", ME)
            except LoginRefused as exc:  # a token may have come nevertheless: strangers get one too
                _log.info("login_expired", account=self._username, http_status=exc.http_status)
            else:
                if self._csrf != rejected:
                    return
        await self._log_in_once(logins)

    async def _log_in_once(self, logins: int) -> None:
        """Log in unless somebody did since `logins` were counted; a failure is that of all who waited for it."""
        async with self._lock:
            if self._logins == logins:
                try:
                    await self._log_in()
                    self._failure = None
                except WebServicesError as exc:
                    self._failure = bare(exc)
                self._logins += 1
                self._report()
            if self._failure is not None:
                raise copy(self._failure)  # each has its own traceback

    def _report(self) -> None:
        if self._failure is None:
            _log.info("logged_in", account=self._username, server=self._server, csrf=bool(self._csrf))
            self._on_login("ok")
            return
        result = "refused" if isinstance(self._failure, LoginRefused) else "failed"
        _log.debug("login_failed", account=self._username, result=result, error=str(self._failure))
        self._on_login(result)

    async def _log_in(self) -> None:
        # A dead session's cookie wins over Basic on some servers. BAYEUX_BROWSER stays: the CometD session hangs on it.
        self._http.cookie_jar.clear(lambda cookie: cookie.key == SESSION_COOKIE)
        self._csrf = {}
        try:
            await self.try_password()
        except LoginRefused as exc:
            text = f"login of {self._username!r} refused, check its username and password: {exc}"
            raise LoginRefused(text, http_status=exc.http_status, status_code=exc.status_code) from exc
        if self._start_contact_center_session:
            await self._enter_contact_center()

    async def try_password(self) -> None:
        """Show username and password once. Raises LoginRefused."""
        await self._exchange("GET", ME, headers={"Authorization": self._basic()})

    def _basic(self) -> str:
        """Basic credentials in UTF-8 (RFC 7617, 2.1)."""
        try:
            credentials = f"{self._username}:{self._password()}".encode()
        except (OSError, ValueError) as exc:
            why = getattr(exc, "strerror", None) or ("no text" if isinstance(exc, UnicodeError) else exc)
            raise LoginRefused(f"password_file cannot be read: {why}") from exc
        return "Basic " + b64encode(credentials).decode()

    async def _enter_contact_center(self) -> None:
        body = msgspec.json.encode({"operationName": "StartContactCenterSession", "channels": self._channels})
        try:
            await self._exchange("POST", ME, body=body)
        except LoginRefused as exc:
            raise _not_honoured(exc) from exc
        except WebServicesError as exc:
            if exc.status_code != PARTIAL:
                raise
            _log.warning("contact_center_session_partial", account=self._username, error=str(exc))

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        most_bytes: int = MAX_BODY_BYTES,
    ) -> Reply:
        """One request and its whole reply, checked; takes the CSRF token from it."""
        sent = {"Accept": "application/json", **(headers or {})}
        if body is not None:
            sent |= {"Content-Type": "application/json", **self._csrf}
        target = URL(self._base + path + (f"?{query}" if query else ""), encoded=True)
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        try:
            async with self._http.request(
                method, target, data=body, headers=sent, allow_redirects=False, timeout=timeout
            ) as response:
                reply = Reply(method, path, response.status, response.headers, await _read(response, path, most_bytes))
        except (aiohttp.ClientError, OSError) as exc:
            raise unanswered(exc, method=method, path=path, server=self._server, timeout_s=self._timeout_s) from bare(
                exc
            )
        self._skew.look(reply.headers.get("Date"), self._server)
        self._take_csrf(reply.headers)
        check(reply, self._time_s)
        if len(reply.body) > SMALL_BYTES:
            await asyncio.sleep(0)  # to read it once more holds up the event loop for as long
        return reply

    def _take_csrf(self, headers: Mapping[str, str]) -> None:
        name, token = headers.get("X-CSRF-HEADER"), headers.get("X-CSRF-TOKEN")
        if not name or not token:
            return
        problem = csrf.problem_of(name, token)
        if not problem:
            self._csrf = {name: token}
        elif not self._refused_header_told:
            self._refused_header_told = True
            _log.warning("csrf_header_refused", account=self._username, header=name[:_SHOWN_CHARS], reason=problem)


def _not_honoured(exc: LoginRefused) -> LoginRefused:
    """What a refusal is of a call that follows a login which was granted."""
    return LoginRefused(f"{exc}, {_NOT_HONOURED}", http_status=exc.http_status, status_code=exc.status_code)


async def _read(response: aiohttp.ClientResponse, path: str, most_bytes: int) -> bytes:
    """The body, if it is no larger than that."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > most_bytes:
            text = f"{response.method} {path}: the answer is larger than {most_bytes} bytes"
            raise ServerFault(text, http_status=response.status)
        chunks.append(chunk)
    return b"".join(chunks)


class User(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who is logged in, as `GET /api/v2/me` tells; what the server leaves out is None."""

    id: str
    user_name: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    employee_id: str | None = None
    roles: tuple[Any, ...] | None = None


class _Me(msgspec.Struct, frozen=True):
    user: User


class _Version(msgspec.Struct, frozen=True):
    version: str


_NONE = msgspec.Raw(b"null")


def _listing(resource: str) -> Any:
    """An answer that lists interactions below `user` or beside it."""
    listed = (resource, msgspec.Raw, _NONE)
    user = msgspec.defstruct("User", [listed])
    return msgspec.defstruct("Listing", [("user", user | None, None), listed])


_LISTINGS = {one.name: _listing(one.resource) for one in MEDIA.values()}


class _Workspace(msgspec.Struct, frozen=True):
    key_name: msgspec.Raw = msgspec.field(default=_NONE, name="interaction.disposition.key-name")


class _Settings(msgspec.Struct, frozen=True):
    workspace: msgspec.Raw = msgspec.field(default=_NONE, name="interaction-workspace")


class _UserSettings(msgspec.Struct, frozen=True):
    settings: msgspec.Raw = _NONE


class _SettingsAnswer(msgspec.Struct, frozen=True):
    user: _UserSettings | None = None
    settings: msgspec.Raw = _NONE


class WebServices:
    """One account's REST session.

    Its login is a cookie in the jar of `http`, which the CometD transport shares. A call that finds the login or the
    CSRF token expired renews it, together with all others that find so, and is repeated once.

    Every call raises WebServicesError (see `answers.check`), with Unreachable where there was no whole answer. No
    redirect is followed. Cancelling a call leaves the others alone.

    Args:
        url: base of the server, without a slash at its end.
        username: login name of the agent.
        password: called for each login, so that a changed file is read again; its OSError becomes LoginRefused.
        http: with the account's cookies. TLS is its connector's matter.
        request_timeout_s: for one exchange, from the connection to the last byte.
        start_contact_center_session: log the agent in to the contact center after each login.
        channels: of that session.
        on_login: told the result of each login: `ok`, `refused` or `failed`.
        time_s: epoch seconds, for a Retry-After that names a date.
        skew: sees the server's clock; shared by all accounts.
    """

    __slots__ = ("_session",)

    most_chats = MOST_CHATS
    most_bytes = MAX_BODY_BYTES

    def __init__(
        self,
        *,
        url: str,
        username: str,
        password: Callable[[], str],
        http: Http,
        request_timeout_s: float = 30.0,
        start_contact_center_session: bool = False,
        channels: Sequence[str] = ("chat",),
        on_login: Callable[[str], None] = lambda _: None,
        time_s: Callable[[], float] = THIS_HOST.time_s,
        skew: ClockSkew | None = None,
    ) -> None:
        self._session = Session(
            url=url,
            username=username,
            password=password,
            http=http,
            request_timeout_s=request_timeout_s,
            start_contact_center_session=start_contact_center_session,
            channels=channels,
            on_login=on_login,
            time_s=time_s,
            skew=skew or ClockSkew(time_s=time_s),
        )

    def headers(self) -> dict[str, str]:
        """What every POST of this session must carry now, CometD's too: the CSRF header, if the server uses one."""
        return self._session.headers()

    async def login(self) -> None:
        """Log in afresh, or share a login that is under way.

        Raises:
            LoginRefused: the server refuses the user, or the password cannot be read.
        """
        await self._session.login()

    async def try_password(self) -> None:
        """Show username and password once, for a look at the answer: nothing else is done, counted or logged.

        Raises:
            LoginRefused: the server refuses the user, or the password cannot be read.
        """
        await self._session.try_password()

    async def me(self) -> User:
        """Who is logged in."""
        return decode(await self._session.call("GET", ME, most_bytes=SMALL_BYTES), _Me).user

    async def keepalive(self) -> None:
        """Touch the HTTP session, which the server otherwise ends after 1800 s without a request."""
        await self._session.call("GET", ME)

    async def version(self) -> str:
        """The server's version, such as 8.5.202.96."""
        return decode(await self._session.call("GET", VERSION), _Version).version

    async def chats(self, media_type: MediaType = CHAT) -> list[msgspec.Raw]:
        """The account's chats as they are now, each as its JSON, for `NotificationDecoder.decode_read`.

        Accepted below `user` and beside it; without chats, or with null, the list is empty. With another medium its
        interactions; whether the server lists these, nobody has documented.

        Raises:
            ServerFault: the answer lists more than `most_chats`.
        """
        resource = MEDIA[media_type].resource
        reply = await self._session.call("GET", ME, query=f"subresources={resource}", most_bytes=self.most_bytes)
        answer = decode(reply, _LISTINGS[media_type])
        for listing in (answer.user, answer):
            array = _NONE if listing is None else getattr(listing, resource)
            if found := await elements(reply, array, most=self.most_chats, what=resource):
                return found
        return []

    async def disposition_key(self) -> str | None:
        """The userData key that the server's settings name for dispositions; None if they name none that can be used.

        In a captured answer it was `interaction.disposition.key-name` of `interaction-workspace` (undocumented).
        """
        answer = decode(await self._session.call("GET", ME, query="subresources=*"), _SettingsAnswer)
        for raw in (answer.user.settings if answer.user else _NONE, answer.settings):
            settings = read_or_none(_Settings, raw)
            workspace = read_or_none(_Workspace, settings.workspace) if settings else None
            key = read_or_none(str, workspace.key_name) if workspace else None
            if key is not None and 0 < len(key) <= _SHOWN_CHARS and key.isprintable() and not set(key) & {*'"\\'}:
                return key
        return None

    async def set_disposition(
        self, chat_id: str, disposition: str, disposition_key: str | None = None, target: Target = A_CHAT
    ) -> dict[str, Any]:
        """Set the disposition of a chat (Chat API, SetDisposition) or of another medium; returns the server's answer.

        The answer says that the operation was accepted; the result is a notification, and of a released call there is
        none. Without `disposition_key` the server uses the key it is configured with.

        Raises:
            ParameterMissing: the medium has no operation that finds the key by itself, or more has to be named.
            ParameterInvalid: the server says so (or that the chat is not in a state for it), or the text is no Unicode.
            NotFound: the account has no such chat.
        """
        steps, operation = target.request(chat_id, disposition, disposition_key)
        try:
            path, body = "/".join((ME, *(quote(step, safe="") for step in steps))), msgspec.json.encode(operation)
        except UnicodeEncodeError as exc:
            raise ParameterInvalid("chat id, disposition and key must be Unicode text") from exc
        reply = await self._session.call("POST", path, body=body, most_bytes=SMALL_BYTES)
        return decode(reply, dict[str, Any])
