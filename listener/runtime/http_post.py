"""POSTs to one URL, one after the other: aiohttp's connections and parser, without a request of aiohttp's for each.

Such a request costs five times what its connection and its parser do, mostly for what is the same each time. That is
kept here: the connection, and the head. All of the policy in `listener.runtime.http_client` holds.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import cast

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from listener.runtime.cookies import CookieJar
from listener.runtime.http_client import LARGEST_HEADER, Connector, HeadTooLarge, Inlet, bare
from listener.runtime.visitor import Http

_INTERIM = range(100, 200)
_SWITCHED = 101  # the last answer of HTTP


class Poster:
    """Sends POSTs, and keeps the connection that those with `stays` came over.

    Only public names of aiohttp are used, but some are documented nowhere: `connect` of a connector, and of a
    connection's protocol `set_response_params`, `read` and `should_close`.

    Args:
        http: with cookies of its own; whoever closes it does so after `close`.
        url: where to.
    """

    __slots__ = ("_connector", "_head", "_http", "_jar", "_kept", "_made_of", "_url")

    def __init__(self, http: Http, url: URL) -> None:
        if not isinstance(http.connector, Connector) or not isinstance(http.cookie_jar, CookieJar):
            raise TypeError("not a session of new_session that keeps cookies")
        self._http = http
        self._connector = http.connector
        self._jar = http.cookie_jar
        self._url = url.with_fragment(None)
        self._head = b""
        self._made_of: object = None
        self._kept: _Line | None = None

    async def post(
        self,
        body: bytes,
        headers: Mapping[str, str],
        *,
        until_s: float,
        connecting_s: Callable[[], float],
        stays: bool = False,
        before_sending: Callable[[], None] | None = None,
    ) -> "Answer":
        """The head of the answer; with `stays` its connection is kept for the next POST of this kind.

        A connection on which this fails, or is cancelled, is closed.

        Args:
            body: what is sent.
            headers: beside those of the session, HTTP's own and the cookies.
            until_s: loop time by which the head must have come.
            connecting_s: time for a connection to come about, asked for where one has to.
            stays: whether the connection is kept.
            before_sending: called in the step in which the request is sent, when there is a connection. What it raises
                is raised, and nothing is sent.

        Raises:
            TimeoutError: no head by then.
            aiohttp.ClientError, OSError: as aiohttp does, and HeadTooLarge.
        """
        head = self._head_for(headers)
        line = self._take_kept() if stays else None
        if line is None:
            left_s = until_s - asyncio.get_running_loop().time()
            line = await self._connect(min(connecting_s(), left_s))
        try:
            if before_sending is not None:
                before_sending()
            message, content = await line.ask(b"%b%d\r\n\r\n%b" % (head, len(body), body), until_s)
            if set_cookies := message.headers.getall(hdrs.SET_COOKIE, ()):
                self._jar.update_cookies_from_headers(set_cookies, self._url)
        except BaseException as exc:
            line.close()
            if isinstance(exc, HttpProcessingError):
                raise self._not_http(exc) from bare(exc)
            raise
        return Answer(message, content, line, self if stays else None)

    def close(self) -> None:
        """Let go of the connection that was kept."""
        if self._kept is not None:
            self._kept.release()
            self._kept = None

    def keep(self, line: "_Line") -> None:
        """Keep a connection whose answer is over; whether it can be used again is looked at when it is to be."""
        if self._kept is None:
            line.rest()
            self._kept = line
        else:
            line.release()

    def _take_kept(self) -> "_Line | None":
        line, self._kept = self._kept, None
        if line is None or (line.is_reusable and line.idle_s <= self._connector.keepalive_s):
            return line
        line.close()
        return None

    async def _connect(self, timeout_s: float) -> "_Line":
        target = self._connector.target(self._url)
        timeout = aiohttp.ClientTimeout(total=None, connect=timeout_s)
        try:
            connection = await self._connector.connect(target, [], timeout)
        except TimeoutError as exc:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {self._url}") from exc
        inlet, protocol = Inlet.of(connection.transport), connection.protocol
        if inlet is None or protocol is None:
            connection.close()
            raise aiohttp.ServerDisconnectedError
        return _Line(connection, protocol, inlet, decompresses=self._http.auto_decompress)

    def _head_for(self, headers: Mapping[str, str]) -> bytes:
        """The head, up to the value of Content-Length; made anew once anything in it has changed."""
        proxy = self._connector.proxy
        made_of = headers, self._jar.changes, proxy and proxy.headers
        if made_of != self._made_of:
            self._head, self._made_of = self._new_head(headers), made_of
        return self._head

    def _new_head(self, headers: Mapping[str, str]) -> bytes:
        """As aiohttp would make it: what it says of itself, where it goes, and its cookies."""
        target = self._connector.target(self._url)
        fields = CIMultiDict(target.headers)
        fields.popall(hdrs.CONTENT_LENGTH, None)
        fields.update(self._http.headers)
        fields.update(headers)
        if cookies := self._jar.header(self._url):
            fields[hdrs.COOKIE] = cookies
        is_whole = target.proxy is not None and not target.is_ssl()
        lines = [f"POST {self._url if is_whole else self._url.raw_path_qs} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        if any(character in line for line in lines for character in "\r\n\0"):
            raise ValueError("a header holds the end of a line")
        return "\r\n".join([*lines, f"{hdrs.CONTENT_LENGTH}: "]).encode()

    def _not_http(self, exc: HttpProcessingError) -> aiohttp.ClientResponseError:
        nothing: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
        info = aiohttp.RequestInfo(self._url, hdrs.METH_POST, nothing, self._url)
        return aiohttp.ClientResponseError(info, (), status=exc.code, message=exc.message)


class Answer:
    """The head of an answer; its body is `whole`, or comes in `content`. To be released, once.

    Attributes:
        status, reason, headers: of the head.
        content: the body, as it comes.
    """

    __slots__ = ("_keeper", "_line", "content", "headers", "reason", "status")

    def __init__(
        self, message: RawResponseMessage, content: aiohttp.StreamReader, line: "_Line", keeper: Poster | None
    ) -> None:
        self.status = message.code
        self.reason = message.reason
        self.headers = message.headers
        self.content = content
        self._line = line
        self._keeper = keeper

    def whole(self, most_bytes: int) -> bytes | None:
        """The body and nothing to wait for, if all of it is there and not more than this; else None."""
        content = self.content
        return content.read_nowait() if content.is_eof() and content.total_bytes <= most_bytes else None

    def release(self) -> None:
        """The connection is free, or closed if the body is not over."""
        if self._keeper is not None and self.content.is_eof():
            self._keeper.keep(self._line)
        else:
            self._line.release()


class _Line:
    """A connection, and the time that its server has.

    Its timer is moved only when it fires: an answer mostly comes long before.
    """

    __slots__ = (
        "_decompresses",
        "_fires_at_s",
        "_idle_since_s",
        "_inlet",
        "_is_late",
        "_loop",
        "_protocol",
        "_timer",
        "_until_s",
        "connection",
    )

    def __init__(self, connection: Connection, protocol: ResponseHandler, inlet: Inlet, *, decompresses: bool) -> None:
        self.connection = connection
        self._protocol = protocol
        self._inlet = inlet
        self._decompresses = decompresses
        self._loop = asyncio.get_running_loop()
        self._idle_since_s = 0.0
        self._until_s = self._fires_at_s = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._is_late = False

    @property
    def is_reusable(self) -> bool:
        """Whether nothing is left on it, and nobody has closed it."""
        return not self.connection.closed and not self._protocol.should_close

    def rest(self) -> None:
        """Its answer is over."""
        self._idle_since_s = self._loop.time()

    @property
    def idle_s(self) -> float:
        """For how long it has been at rest."""
        return self._loop.time() - self._idle_since_s

    async def ask(self, request: bytes, until_s: float) -> tuple[RawResponseMessage, aiohttp.StreamReader]:
        """Send a request in one step, and return the head that counts, with what brings the body."""
        inlet = self._inlet
        self._protocol.set_response_params(  # a new parser: the one before holds on to its last head
            read_until_eof=True,
            auto_decompress=self._decompresses,
            max_line_size=LARGEST_HEADER,
            max_field_size=LARGEST_HEADER,
        )
        inlet.await_head()
        self._wait_until(until_s)
        try:
            cast("asyncio.Transport", self.connection.transport).write(request)
            del request  # a poll is held for minutes
            while True:
                message, content = await self._protocol.read()
                if message.code not in _INTERIM or message.code == _SWITCHED:
                    return message, content
        except (aiohttp.ClientError, HttpProcessingError) as exc:
            if self._is_late:
                raise TimeoutError from bare(exc)
            if complaint := inlet.complaint(exc):
                raise HeadTooLarge(complaint) from bare(exc)
            raise
        finally:
            self._until_s = math.inf
            inlet.end_head()

    def release(self) -> None:
        """Give it back to the connector, which closes it unless it can be used again."""
        self._stop_timer()
        self.connection.release()

    def close(self) -> None:
        """It is not to be used again."""
        self._stop_timer()
        self.connection.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_until(self, until_s: float) -> None:
        self._until_s = until_s
        if self._fires_at_s > until_s:
            self._set_timer(until_s)

    def _set_timer(self, at_s: float) -> None:
        self._stop_timer()
        self._fires_at_s, self._timer = at_s, self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        self._fires_at_s, self._timer = math.inf, None
        if self._loop.time() < self._until_s < math.inf:
            self._set_timer(self._until_s)
        elif self._until_s < math.inf:
            self._is_late = True
            if (transport := self.connection.transport) is not None:
                transport.abort()
