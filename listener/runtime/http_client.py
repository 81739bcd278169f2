"""The one policy of all HTTP clients here: bounded heads, no redirects, a proxy only where one is set, errors in words.

A session of `new_session` is aiohttp's own. How much of a body is read, and for how long, is its user's matter.
"""

import asyncio
import errno
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Mapping
from http import HTTPStatus
from socket import socket
from types import SimpleNamespace
from typing import Any, TypeVar

import aiohttp
from aiohttp import hdrs
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import LineTooLong
from yarl import URL

from listener.runtime.cookies import CookieJar
from listener.runtime.urls import HIDDEN, told

LARGEST_HEADER = 64 * 2**10
"""Bytes of one header line, name and value: some Content-Security-Policies are longer than 8 KiB."""

LARGEST_HEAD = 256 * 2**10
"""Bytes that may come before the status that counts is known: all headers, and all interim answers (RFC 9110, 15.2)."""

_INTERIM = "interim answers included"

_SLICE = 16 * 2**10
_SLICE_OF_FRAMES = 4 * 2**10  # 16 KiB may hold 8,000 frames of a websocket, 35 ms of work
_NO_ROOM = bytearray()
E = TypeVar("E", bound=BaseException)
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,60}(?=:)")  # RFC 9110, 5.6.2
_ANNOUNCED = re.compile(rb"\n(content-length:[ \t]*[1-9]|transfer-encoding:)", re.IGNORECASE)  # a body
_TEXT_CHARACTERS = 200
_URL = re.compile(r"\w+://\S*")


class HeadTooLarge(aiohttp.ClientError):
    """The head of an answer exceeds a limit; the text says which, and names the header."""


class Inlet(asyncio.BufferedProtocol):
    """Stands between a connection and aiohttp's protocol: takes it 16 KiB a step, and counts while a head is awaited.

    aiohttp parses what one read brought in a single step, and reads on while interim answers come: 256 KiB of them
    would hold the loop for 50 ms, and gigabytes would follow.
    """

    __slots__ = ("_behind", "_head_bytes", "_line", "_refused", "_room", "_slice", "_transport")

    def __init__(self, transport: asyncio.Transport, behind: Any) -> None:
        self._transport = transport
        self._behind = behind
        self._room = _NO_ROOM
        self._slice = _SLICE
        self._head_bytes: int | None = None
        self._line = b""  # the beginning of the header line that is under way
        self._refused: HeadTooLarge | None = None

    @classmethod
    def of(cls, transport: asyncio.Transport | None) -> "Inlet | None":
        """The one of this connection, put there at its first use; None if the connection is gone."""
        if transport is None or transport.is_closing():
            return None
        behind = transport.get_protocol()
        if isinstance(behind, cls):
            return behind
        inlet = cls(transport, behind)
        reads = transport.is_reading()
        transport.pause_reading()  # uvloop decides when reading begins how a protocol is fed
        transport.set_protocol(inlet)
        if reads:
            transport.resume_reading()
        return inlet

    def await_head(self) -> None:
        """Count from here."""
        self._head_bytes, self._line = 0, b""

    def end_head(self) -> None:
        """Count no longer: the status is known, or there will be none."""
        self._head_bytes = None

    def expect_frames(self) -> None:
        """The connection is a websocket's from here."""
        self._slice = _SLICE_OF_FRAMES

    def complaint(self, exc: BaseException) -> str:
        """What is too large, if that is what ended the wait for the head; else empty."""
        if isinstance(exc, HeadTooLarge):
            return str(exc)
        while (cause := exc.__cause__) is not None:
            if isinstance(cause, LineTooLong):
                name = _NAME.match(self._line)
                header = f"the header {name[0].decode()}" if name else "a header"
                return f"{header}, longer than {LARGEST_HEADER // 1024} KiB"
            exc = cause
        return ""

    def get_buffer(self, _sizehint: int) -> bytearray:
        """See asyncio."""
        self._room = bytearray(self._slice)
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        data = bytes(memoryview(self._room)[:nbytes])
        self._room = _NO_ROOM
        if self._head_bytes is not None:
            if not self._head_bytes and data[8:12] == b" 204":
                data = self._without_body(data)
            self._head_bytes += nbytes
        self._behind.data_received(data)
        if self._head_bytes is not None and self._head_bytes > LARGEST_HEAD:
            self._look_again()
        if self._head_bytes is not None and self._behind.exception() is None:
            _, end, begun = data.rpartition(b"\n")
            self._line = begun[:_SLICE] if end else (self._line + data)[:_SLICE]

    def _without_body(self, data: bytes) -> bytes:
        """A 204 ends with its head, whatever that says; what follows is no answer to anything (RFC 9112, 6.3)."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if rest or _ANNOUNCED.search(head):
            self._behind.force_close()  # nobody knows where the next answer would begin
        return head + end

    def _look_again(self) -> None:
        """Give up if the head is not over in the next step of the loop; nothing more is read until then.

        uvloop hands over up to half a megabyte in one step, in which nobody can say that the head is over: most of it
        may be the body.
        """
        reads = self._transport.is_reading()
        self._transport.pause_reading()

        def look() -> None:
            if self._head_bytes is not None and self._head_bytes > LARGEST_HEAD:
                self._refused = HeadTooLarge(f"a head of more than {LARGEST_HEAD // 1024} KiB, {_INTERIM}")
                self._transport.abort()
            elif reads:
                self._transport.resume_reading()

        asyncio.get_running_loop().call_soon(look)

    def eof_received(self) -> bool | None:
        """See asyncio."""
        return self._behind.eof_received()  # type: ignore[no-any-return]

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._behind.connection_lost(self._refused or exc)

    def pause_writing(self) -> None:
        """See asyncio."""
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._behind.resume_writing()


class _Answer(aiohttp.ClientResponse):
    """An answer whose head is bounded, interim answers included."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Raises HeadTooLarge."""
        inlet = Inlet.of(connection.transport)
        if inlet is None:
            return await super().start(connection)
        inlet.await_head()
        try:
            answer = await super().start(connection)
        except aiohttp.ClientError as exc:
            if complaint := inlet.complaint(exc):
                raise HeadTooLarge(complaint) from bare(exc)
            raise
        finally:
            inlet.end_head()
        if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
            inlet.expect_frames()
        return answer


class Proxy:
    """An HTTP proxy: what is `https` goes through it with CONNECT, so that TLS ends at the server and not in it.

    Args:
        url: of the proxy, `http://host:port`.
        user: for Basic authentication at the proxy; None for none.
        password: of the user.

    Attributes:
        headers: what it asks of us; replaced with the password.
    """

    def __init__(self, url: str, *, user: str | None = None, password: str = "") -> None:
        self._url = URL(url)
        self._user = user
        self.headers: dict[str, str] = {}
        self.set_password(password)

    def set_password(self, password: str) -> None:
        """From the next request on."""
        if self._user is not None:
            credentials = b64encode(f"{self._user}:{password}".encode()).decode()
            self.headers = {hdrs.PROXY_AUTHORIZATION: f"Basic {credentials}"}

    def lead(self, request: aiohttp.ClientRequest) -> None:
        """Send a request through it that has not been sent yet."""
        if request.is_ssl():
            request.update_proxy(self._url, None, dict(self.headers))
        else:
            request.update_proxy(self._url, None, None)
            request.headers.update(self.headers)


def new_proxy(url: str | None, *, user: str | None, password: str) -> Proxy | None:
    """The proxy at this address; None without one."""
    return Proxy(url, user=user, password=password) if url is not None else None


class Connector(aiohttp.TCPConnector):
    """Connections for one session or for many, through a proxy if there is one; to be closed by its owner.

    Args:
        limit: most of them at once; 0 for any number.
        tls: how certificates are verified; True is as aiohttp does it, False takes any.
        keepalive_s: for how long an idle one is kept.
        new_socket: makes the socket of an attempt, or refuses the address.
        proxy: what all requests go through.
    """

    def __init__(
        self,
        *,
        limit: int,
        tls: ssl.SSLContext | bool = True,
        keepalive_s: float = 15.0,
        new_socket: Callable[[tuple[Any, ...]], socket] | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        super().__init__(limit=limit, ssl=tls, keepalive_timeout=keepalive_s, socket_factory=new_socket)
        self.proxy = proxy
        self.keepalive_s = keepalive_s
        self._target: aiohttp.ClientRequest | None = None

    def target(self, url: URL) -> aiohttp.ClientRequest:
        """A POST to it, to connect by, and for what is the same in all: one for all sessions, led through the proxy."""
        if self._target is None or self._target.url != url:
            self._target = aiohttp.ClientRequest(hdrs.METH_POST, url, loop=asyncio.get_running_loop())
        if self.proxy is not None:
            self.proxy.lead(self._target)
        return self._target

    async def connect(self, req: aiohttp.ClientRequest, *args: Any, **more: Any) -> Connection:
        """See aiohttp."""
        if self.proxy is None:
            return await super().connect(req, *args, **more)
        self.proxy.lead(req)
        try:
            return await super().connect(req, *args, **more)
        except aiohttp.ClientHttpProxyError:
            raise
        except (HeadTooLarge, aiohttp.ClientResponseError) as exc:
            why = str(exc) if isinstance(exc, HeadTooLarge) else "a head that is no HTTP, or a header above 8 KiB"
            raise aiohttp.ClientHttpProxyError(req.request_info, (), status=0, message=why) from bare(exc)

    async def _wrap_create_connection(self, *args: Any, **more: Any) -> tuple[asyncio.Transport, ResponseHandler]:
        """See aiohttp, which connects a socket and hands it to the loop: that does both for less, to one address."""
        if len(more["addr_infos"]) > 1 or self._socket_factory is not None:
            return await super()._wrap_create_connection(*args, **more)
        [new_protocol], [(*_, (host, port, *_))] = args, more["addr_infos"]
        loop, key, tls = asyncio.get_running_loop(), more["req"].connection_key, more["ssl"]
        try:
            async with asyncio.timeout(more["timeout"].sock_connect):
                return await loop.create_connection(
                    new_protocol, host, port, ssl=tls, server_hostname=more["server_hostname"]
                )
        except ssl.SSLCertVerificationError as exc:
            raise aiohttp.ClientConnectorCertificateError(key, exc) from exc
        except ssl.SSLError as exc:
            raise aiohttp.ClientConnectorSSLError(key, exc) from exc
        except OSError as exc:
            if exc.errno is None and isinstance(exc, TimeoutError):
                raise
            raise more["client_error"](key, exc) from exc

    async def _create_direct_connection(self, *args: Any, **more: Any) -> tuple[asyncio.Transport, ResponseHandler]:
        """See aiohttp, which names no other place where the answer to CONNECT can be watched."""
        transport, protocol = await super()._create_direct_connection(*args, **more)
        if self.proxy is not None and (inlet := Inlet.of(transport)) is not None:
            inlet.await_head()
        return transport, protocol


async def _refuse_redirect(_: Any, _context: SimpleNamespace, params: aiohttp.TraceRequestRedirectParams) -> None:
    """For a websocket's upgrade, where aiohttp follows redirects: cookies and tokens would go to another server."""
    response = params.response
    response.close()
    raise aiohttp.WSServerHandshakeError(
        response.request_info,
        response.history,
        status=response.status,
        message="a redirect, which is not followed",
        headers=response.headers,
    )


_NO_REDIRECTS = aiohttp.TraceConfig()  # one for all sessions: it takes 3 KB
_NO_REDIRECTS.on_request_redirect.append(_refuse_redirect)


def new_session(
    connector: aiohttp.BaseConnector,
    *,
    owns_connector: bool = True,
    cookies: CookieJar | None = None,
    decompresses: bool = False,
    timeout_s: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> aiohttp.ClientSession:
    """A session that keeps the policy; to be closed by its owner.

    No variable of the environment is read (HTTP_PROXY and its like, netrc).

    Args:
        connector: a `Connector`.
        owns_connector: whether it is closed together with the session.
        cookies: where they are kept; None keeps none.
        decompresses: False where a small answer must not grow in our memory.
        timeout_s: for a whole exchange, where a request names no other limit; None for no limit.
        headers: sent with every request.
    """
    return aiohttp.ClientSession(
        connector=connector,
        connector_owner=owns_connector,
        cookie_jar=aiohttp.DummyCookieJar() if cookies is None else cookies,
        auto_decompress=decompresses,
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        headers=headers,
        max_line_size=LARGEST_HEADER,
        max_field_size=LARGEST_HEADER,
        response_class=_Answer,
        trace_configs=[_NO_REDIRECTS],
        trust_env=False,
    )


def bare(error: E) -> E:
    """The same error without its frames, for what outlives its handling: they hold all that was under way.

    aiohttp keeps the error of a body beside the body. With a traceback the two would hold each other, and a response of
    any size, until the garbage collector comes.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def describe(exc: BaseException, *, peer: str, table: str, url_key: str = "url", ca_key: str | None = "ca_file") -> str:
    """What came instead of an answer, in words that name the setting that it hangs on. Quotes nothing of an answer.

    Args:
        exc: of aiohttp, or an OSError.
        peer: who was asked.
        table: where its settings are, such as `server`: `proxy`, `proxy_user`.
        url_key: the setting there that names the peer.
        ca_key: the one that names the authorities; None where those of the host count.
    """
    match exc:
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            cause = getattr(exc, "certificate_error", exc)
            why = getattr(cause, "verify_message", "") or str(cause)
            what_helps = f": set {table}.{ca_key} to the authority's file" if ca_key is not None else " on this host"
            text = f"the certificate of {peer} is not trusted ({why}){what_helps}"
        case aiohttp.ClientSSLError():
            text = f"no TLS with {peer}: {_unconnected(exc, peer)}"
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            text = _describe_proxy(exc, peer=peer, table=table)
        case aiohttp.ClientConnectorError():
            check = "ulimit -Hn" if exc.errno == errno.EMFILE else f"{table}.{url_key}"
            text = f"{peer} cannot be reached: {_unconnected(exc, peer)} (check {check})"
        case aiohttp.ConnectionTimeoutError():
            text = f"{peer} cannot be reached: {_short(exc)} (check {table}.{url_key})"
        case HeadTooLarge():
            text = f"the answer of {peer} has {exc}"
        case aiohttp.WSServerHandshakeError():
            text = f"{peer} answered HTTP {exc.status} to the upgrade to a websocket: {exc.message}"
        case aiohttp.ClientResponseError():
            text = f"the answer of {peer} is not HTTP"
        case aiohttp.ServerDisconnectedError():  # its text may be the beginning of the answer
            text = f"{peer} closed the connection instead of answering"
        case _:
            text = f"no answer from {peer}: {_short(exc)}"
    return text


def _describe_proxy(
    exc: aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError, *, peer: str, table: str
) -> str:
    if isinstance(exc, aiohttp.ClientProxyConnectionError):
        return f"the proxy cannot be reached: {_unconnected(exc)} (check {table}.proxy)"
    if exc.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return f"the proxy refuses us with 407 (check {table}.proxy_user and {table}.proxy_password_file)"
    answered = f"it answered {exc.status}" if exc.status else f"its answer has {exc.message}"
    return f"the proxy does not connect us with {peer}, {answered} (check {table}.proxy)"


def _unconnected(exc: aiohttp.ClientConnectorError, peer: str = "") -> str:
    """Why there is no connection, and the address where `peer` does not say it; aiohttp speaks of TLS without any."""
    cause = exc.os_error
    is_system = cause.errno is not None and cause.errno > 0 and not isinstance(cause, ssl.SSLError)
    why = (
        os.strerror(cause.errno)
        if is_system and cause.errno is not None
        else _short(cause).removeprefix(f"[Errno {cause.errno}] ")
    )
    return why if exc.host in peer else f"{exc.host}:{exc.port}: {why}"


def _short(exc: BaseException) -> str:
    """One line of printable characters, with URLs as they are told."""
    text = one_line(str(exc).removeprefix("[Errno None] "))
    return _URL.sub(_told, text)[:_TEXT_CHARACTERS] or type(exc).__name__


def _told(found: re.Match[str]) -> str:
    try:
        return told(URL(found[0]))
    except ValueError:
        return HIDDEN


def one_line(text: str) -> str:
    """What a peer says, in one line of printable characters.

    In the text of a head, a byte that is no UTF-8 is half of a surrogate pair, which no JSON can hold.
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
