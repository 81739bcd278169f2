"""One account's HTTP session: login, cookie, CSRF token, and calls that survive the loss of any of them."""

import asyncio
import re
from base64 import b64encode
from collections.abc import Callable, Mapping

import aiohttp
import msgspec
import structlog
from yarl import URL

from listener.errors import CsrfRejected, LoginRefused, ServerFault, WebServicesError
from listener.webservices.answers import PARTIAL, Reply, check, unanswered

ME = "/api/v2/me"
SESSION_COOKIE = "JSESSIONID"
MAX_BODY_BYTES = 16 * 2**20

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a header's name: RFC 9110, 5.6.2
_log = structlog.get_logger(__name__)


class Session:
    """What every call of one account goes through; see `client.WebServices` for the arguments.

    The session cookie is the login; it is kept in the jar of `http`. When the server does not know it (any more), a
    call logs in and is repeated once. Callers that need a login at the same moment share one, its failure too: a wrong
    password is not tried a hundred times.
    """

    def __init__(
        self,
        *,
        url: str,
        username: str,
        password: Callable[[], str],
        http: aiohttp.ClientSession,
        request_timeout_s: float,
        start_contact_center_session: bool,
        on_login: Callable[[str], None],
        time_s: Callable[[], float],
    ) -> None:
        base = URL(url)
        self._base = str(base).rstrip("/")
        self._server = str(base.origin())
        self._username = username
        self._password = password
        self._http = http
        self._timeout_s = request_timeout_s
        self._start_contact_center_session = start_contact_center_session
        self._on_login = on_login
        self._time_s = time_s
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

    async def call(self, method: str, path: str, *, query: str = "", body: bytes | None = None) -> Reply:
        """One exchange; if the server does not accept the session, a renewal and one more."""
        logins, csrf = self._logins, self._csrf
        try:
            return await self._exchange(method, path, query=query, body=body)
        except CsrfRejected:
            await self._renew_csrf(csrf, logins)
        except LoginRefused:
            await self._log_in_once(logins)
        return await self._exchange(method, path, query=query, body=body)

    async def _renew_csrf(self, rejected: dict[str, str], logins: int) -> None:
        """Fetch the token of this session; without a session, or with the same token again, log in."""
        async with self._lock:
            if self._csrf != rejected:
                return
            try:
                await self._exchange("GET", ME)
            except LoginRefused as exc:  # a token may have come all the same: strangers get one too
                _log.info("session_unknown", account=self._username, http_status=exc.http_status)
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
                    self._failure = exc
                self._logins += 1
                self._report()
            if self._failure is not None:
                raise self._failure

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
            await self._exchange("GET", ME, headers={"Authorization": self._basic()})
        except LoginRefused as exc:
            text = f"login of {self._username!r} refused, check username and password of its [[accounts]] table: {exc}"
            raise LoginRefused(text, http_status=exc.http_status, status_code=exc.status_code) from exc
        if self._start_contact_center_session:
            await self._enter_contact_center()

    def _basic(self) -> str:
        """Basic credentials in UTF-8 (RFC 7617, 2.1)."""
        try:
            credentials = f"{self._username}:{self._password()}".encode()
        except (OSError, ValueError) as exc:
            raise LoginRefused(f"password_file cannot be read: {getattr(exc, 'strerror', None) or 'no text'}") from exc
        return "Basic " + b64encode(credentials).decode()

    async def _enter_contact_center(self) -> None:
        body = msgspec.json.encode({"operationName": "StartContactCenterSession", "channels": ["chat"]})
        try:
            await self._exchange("POST", ME, body=body)
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
                reply = Reply(method, path, response.status, response.headers, await _read(response, path))
        except (aiohttp.ClientError, OSError) as exc:
            raise unanswered(exc, method=method, path=path, server=self._server, timeout_s=self._timeout_s) from exc
        self._take_csrf(reply.headers)
        check(reply, self._time_s)
        return reply

    def _take_csrf(self, headers: Mapping[str, str]) -> None:
        name, token = headers.get("X-CSRF-HEADER", ""), headers.get("X-CSRF-TOKEN")
        if token and _TOKEN.fullmatch(name):
            self._csrf = {name: token}


async def _read(response: aiohttp.ClientResponse, path: str) -> bytes:
    """The body, which may be 16 MiB long."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            text = f"{response.method} {path}: the answer is larger than {MAX_BODY_BYTES} bytes"
            raise ServerFault(text, http_status=response.status)
        chunks.append(chunk)
    return b"".join(chunks)
