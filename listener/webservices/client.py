"""The REST side of Web Services: login, session cookie, CSRF, the agent's chats, SetDisposition."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from listener.errors import ParameterInvalid, ParameterMissing
from listener.runtime.host import THIS_HOST
from listener.webservices.answers import decode
from listener.webservices.session import ME, Session

VERSION = "/api/v2/diagnostics/version"


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


class _Chats(msgspec.Struct, frozen=True):
    chats: list[msgspec.Raw] | None = None


class _ChatsAnswer(msgspec.Struct, frozen=True):
    user: _Chats | None = None
    chats: list[msgspec.Raw] | None = None


def new_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """An account's own HTTP session on the shared connector, which stays open when the session is closed.

    The jar takes cookies of servers that are named by IP address, and gives every cookie back as it came: quotes that
    the server did not write break the stickiness of load balancers.
    """
    jar = aiohttp.CookieJar(unsafe=True, quote_cookie=False)
    return aiohttp.ClientSession(connector=connector, connector_owner=False, cookie_jar=jar)


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
        http: from `new_session`; its owner closes it. TLS is its connector's matter.
        request_timeout_s: for one exchange, from the connection to the last byte.
        start_contact_center_session: log the agent in to the contact center's chat after each login.
        on_login: told the result of each login: `ok`, `refused` or `failed`.
        time_s: epoch seconds, for a Retry-After that names a date.
    """

    def __init__(
        self,
        *,
        url: str,
        username: str,
        password: Callable[[], str],
        http: aiohttp.ClientSession,
        request_timeout_s: float = 30.0,
        start_contact_center_session: bool = False,
        on_login: Callable[[str], None] = lambda _: None,
        time_s: Callable[[], float] = THIS_HOST.time_s,
    ) -> None:
        self._session = Session(
            url=url,
            username=username,
            password=password,
            http=http,
            request_timeout_s=request_timeout_s,
            start_contact_center_session=start_contact_center_session,
            on_login=on_login,
            time_s=time_s,
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

    async def me(self) -> User:
        """Who is logged in."""
        return decode(await self._session.call("GET", ME), _Me).user

    async def keepalive(self) -> None:
        """Touch the HTTP session, which the server otherwise ends after 1800 s without a request."""
        await self._session.call("GET", ME)

    async def version(self) -> str:
        """The server's version, such as 8.5.202.96."""
        return decode(await self._session.call("GET", VERSION), _Version).version

    async def chats(self) -> list[msgspec.Raw]:
        """The account's chats as they are now, each as its JSON, for `NotificationDecoder.decode_chats`.

        Accepted below `user` and beside it; without chats, or with null, the list is empty.
        """
        answer = decode(await self._session.call("GET", ME, query="subresources=chats"), _ChatsAnswer)
        return (answer.user and answer.user.chats) or answer.chats or []

    async def set_disposition(
        self, chat_id: str, disposition: str, disposition_key: str | None = None
    ) -> dict[str, Any]:
        """Set a chat's disposition (Chat API, SetDisposition); returns the server's answer.

        The answer says that the operation was accepted; the result is a notification. Without `disposition_key` the
        server uses the key it is configured with.

        Raises:
            ParameterInvalid: the server says so (or that the chat is not in a state for it), or the text is no Unicode.
            NotFound: the account has no such chat.
        """
        if not chat_id:
            raise ParameterMissing("the chat id is empty")
        operation = {"operationName": "SetDisposition"}
        if disposition_key is not None:
            operation["dispositionKey"] = disposition_key
        operation["disposition"] = disposition
        try:
            path, body = f"{ME}/chats/{quote(chat_id, safe='')}", msgspec.json.encode(operation)
        except UnicodeEncodeError as exc:
            raise ParameterInvalid("chat id, disposition and key must be Unicode text") from exc
        return decode(await self._session.call("POST", path, body=body), dict[str, Any])
