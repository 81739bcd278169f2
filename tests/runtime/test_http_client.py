"""What any HTTP client of ours takes of a server, what it refuses, and where it does not go."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from listener.runtime.cookies import CookieJar
from listener.runtime.http_client import (
    LARGEST_HEAD,
    LARGEST_HEADER,
    Connector,
    HeadTooLarge,
    Proxy,
    describe,
    new_proxy,
    new_session,
)
from support.authority import Authority
from support.bareserver import BareServer
from support.httpproxy import HttpProxy
from support.loops import LOOPS, on
from support.receiver import Receiver
from support.wire import saying, talking

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


@asynccontextmanager
async def session(**options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with new_session(Connector(limit=0, **options), timeout_s=20.0, cookies=CookieJar()) as http:
        yield http


async def answer_of(url: str, **options: Any) -> tuple[int, bytes]:
    async with session(**options) as http, http.get(url, allow_redirects=False) as response:
        return response.status, await response.read()


async def failure_of(url: str, **options: Any) -> str:
    with pytest.raises(aiohttp.ClientError) as caught:
        await answer_of(url, **options)
    return describe(caught.value, peer="it", table="here")


@LOOPS
def test_a_header_of_9_kb_is_taken(loop: str):
    async def play() -> None:
        policy = b"Content-Security-Policy: " + b"x" * 9000 + b"\r\n"
        async with talking(saying(OK + policy + b"\r\nok")) as url:
            assert await answer_of(url) == (200, b"ok")

    on(loop, play)


@LOOPS
@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["that ends", "that does not"])
def test_a_header_line_of_more_than_64_kib_is_refused_by_its_name_and_without_its_value(loop: str, end: bytes):
    async def play() -> None:
        async with talking(saying(OK, b"X-Secret-Thing: ", b"secret" * (LARGEST_HEADER // 6 + 1), end)) as url:
            assert await failure_of(url) == "the answer of it has the header X-Secret-Thing, longer than 64 KiB"

    on(loop, play)


async def test_a_header_whose_name_alone_is_endless_is_refused_without_it():
    async with talking(saying(OK, for_ever=b"x" * 1000)) as url:
        assert await failure_of(url) == "the answer of it has a header, longer than 64 KiB"


def with_a_large_buffer(address: tuple[Any, ...]) -> socket.socket:
    """So that an answer can be there whole before it is read, as on a connection that has been used for a while."""
    made = socket.socket(*address[:3])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
    return made


@LOOPS
def test_a_large_body_that_comes_at_once_is_no_head(loop: str):
    """Uvloop hands over half a megabyte of it before anybody can say that the head is over."""

    async def play() -> None:
        body = b"x" * 5 * 2**20
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        async with talking(saying(head + body)) as url:
            status, got = await answer_of(url, new_socket=with_a_large_buffer)
        assert (status, len(got)) == (200, len(body))

    on(loop, play)


@LOOPS
@pytest.mark.parametrize("status", [100, 102, 103])
def test_interim_answers_without_end_are_a_failure_in_bounded_time_and_memory(loop: str, status: int):
    """They would be gigabytes, and the loop would do nothing else: here the server gets rid of a few."""
    written = 0

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while True:
            block = b"HTTP/1.1 %d \r\n\r\n" % status * 1000
            writer.write(block)
            await writer.drain()
            written += len(block)

    async def play() -> None:
        async with talking(talk) as url:
            said = await failure_of(url)
        assert said == "the answer of it has a head of more than 256 KiB, interim answers included"
        assert written < 64 * LARGEST_HEAD, "what fits into the sockets' buffers"

    on(loop, play)


@LOOPS
def test_a_proxy_is_held_to_the_same_where_it_is_asked_for_a_tunnel(loop: str):
    written = 0

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        while True:
            block = b"HTTP/1.1 102 \r\n\r\n" * 1000
            writer.write(block)
            await writer.drain()
            written += len(block)

    async def play() -> None:
        async with talking(talk) as url:
            said = await failure_of("https://gws.example.com", proxy=Proxy(url))
        assert said == (
            "the proxy does not connect us with it, its answer has a head of more than 256 KiB, interim answers"
            " included (check here.proxy)"
        )
        assert written < 64 * LARGEST_HEAD, "what fits into the sockets' buffers"

    on(loop, play)


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n"])
async def test_what_a_proxy_says_amiss_is_not_put_down_to_the_server(answer: bytes):
    async with talking(saying(answer)) as url:
        said = await failure_of("https://gws.example.com", proxy=Proxy(url))
    assert said == (
        "the proxy does not connect us with it, its answer has a head that is no HTTP, or a header above 8 KiB"
        " (check here.proxy)"
    )


async def test_a_few_interim_answers_come_before_the_one_that_counts():
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    async with talking(saying(hints * 100, OK + b"\r\nok")) as url:
        assert await answer_of(url) == (200, b"ok")


@LOOPS
@pytest.mark.parametrize(
    ("answer", "used"),
    [
        (b"Content-Length: 2\r\n\r\nok", 3),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 3),
        (b"\r\nok", 3),
        (b"Content-Length: 2\r\n\r\n", 3),
        (b"Content-Length: 0\r\n\r\n", 1),
        (b"\r\n", 1),
    ],
)
def test_what_follows_a_204_is_no_answer_and_its_connection_is_not_used_again(loop: str, answer: bytes, used: int):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        while True:
            writer.write(b"HTTP/1.1 204 No Content\r\n" + answer)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    async def play() -> None:
        async with talking(talk) as url, session() as http:
            for _ in range(3):
                async with http.get(url) as response:
                    assert (response.status, await response.read()) == (204, b"")

    connections: list[asyncio.StreamWriter] = []
    on(loop, play)
    assert len(connections) == used


async def test_no_step_takes_more_than_a_slice_of_what_has_come(monkeypatch: pytest.MonkeyPatch):
    """The parser does in one step what it is given at once."""
    given: list[int] = []
    take = aiohttp.client_proto.ResponseHandler.data_received

    def count(handler: Any, data: bytes) -> None:
        given.append(len(data))
        take(handler, data)

    monkeypatch.setattr(aiohttp.client_proto.ResponseHandler, "data_received", count)
    size = 2**20
    async with talking(saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)) as url:
        assert len((await answer_of(url))[1]) == size
    assert max(given) <= 16 * 1024


@LOOPS
def test_a_connection_is_used_again_and_its_heads_are_counted_one_by_one(loop: str):
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(OK + b"X: " + b"x" * 60_000 + b"\r\n\r\nok")
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")
            connections.append(writer)

    async def play() -> None:
        async with talking(talk) as url, session() as http:
            for _ in range(6):
                async with http.get(url) as response:
                    assert await response.read() == b"ok"
        assert len(set(connections)) == 1

    connections: list[asyncio.StreamWriter] = []
    on(loop, play)


async def test_a_redirect_is_never_followed_not_even_for_a_websocket(receiver: Receiver):
    """Cookies of an address are those of all its ports: they would go along, and so would the CSRF token."""
    location = f"HTTP/1.1 302 Found\r\nLocation: {receiver.url}/elsewhere\r\nContent-Length: 0\r\n\r\n".encode()
    async with talking(saying(location)) as url, session() as http:
        http.cookie_jar.update_cookies({"JSESSIONID": "secret"})
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await http.ws_connect(url, headers={"X-CSRF-TOKEN": "secret"})
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.get(url)
    said = "it answered HTTP 302 to the upgrade to a websocket: a redirect, which is not followed"
    assert describe(caught.value, peer="it", table="here") == said
    assert (receiver.posts, receiver.asked) == ([], [])


async def test_no_variable_of_the_environment_leads_anywhere(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with talking(saying(OK + b"\r\nok")) as url:
        assert await answer_of(url) == (200, b"ok")


@pytest.fixture
async def proxy() -> AsyncIterator[HttpProxy]:
    async with HttpProxy(login="listener:secret") as proxy:
        yield proxy


def known_to(proxy: HttpProxy, *, wrong: bool = False) -> Proxy:
    return Proxy(proxy.url, user="listener", password="wrong" if wrong else "secret")


async def test_http_is_asked_for_by_its_whole_url(proxy: HttpProxy):
    async with talking(saying(OK + b"\r\nok")) as url:
        assert await answer_of(f"{url}/a?b=c", proxy=known_to(proxy)) == (200, b"ok")
        (asked,) = proxy.asked
        assert (asked.method, asked.target) == ("GET", f"{url}/a?b=c")
        assert (await answer_of(url, proxy=known_to(proxy, wrong=True)))[0] == 407


async def test_https_is_a_tunnel_in_which_the_servers_certificate_is_verified(proxy: HttpProxy, tmp_path: Path):
    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.ca_file))
    async with Receiver(tls=authority.server()) as receiver:
        async with session(proxy=known_to(proxy), tls=trusting) as http:
            response = await http.post(receiver.url, data=b"{}", headers={"Authorization": "Bearer mine"})
            assert response.status == 200
        (asked,) = proxy.asked
        assert (asked.method, asked.target) == ("CONNECT", receiver.url.removeprefix("https://"))
        assert "mine" not in asked.head, "what is for the server is not for the proxy"
        assert "Proxy-Authorization" not in receiver.posts[0].headers, "and the other way round"
        assert await failure_of(receiver.url, proxy=known_to(proxy)) == (
            "the certificate of it is not trusted (self-signed certificate in certificate chain):"
            " set here.ca_file to the authority's file"
        )


@LOOPS
def test_a_websocket_goes_through_a_tunnel_too(loop: str, tmp_path: Path):
    async def talk(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(await socket.receive_str())
        return socket

    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.ca_file))

    async def play() -> None:
        async with (
            HttpProxy() as proxy,
            BareServer(talk, tls=authority.server()) as server,
            session(proxy=Proxy(proxy.url), tls=trusting) as http,
            http.ws_connect(server.url) as socket,
        ):
            await socket.send_str("x" * 100_000)
            assert len(await socket.receive_str()) == 100_000
        assert [asked.method for asked in proxy.asked] == ["CONNECT"]

    on(loop, play)


async def test_a_password_that_is_replaced_counts_from_the_next_request_on(proxy: HttpProxy):
    known = known_to(proxy, wrong=True)
    async with talking(saying(OK + b"\r\nok")) as url, session(proxy=known) as http:
        async with http.get(url) as response:
            assert response.status == 407
        known.set_password("secret")
        async with http.get(url) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("login", "tunnels", "said"),
    [
        ("a:b", True, "the proxy refuses us with 407 (check here.proxy_user and here.proxy_password_file)"),
        (None, False, "the proxy does not connect us with it, it answered 403 (check here.proxy)"),
    ],
)
async def test_what_a_proxy_says_names_the_setting(proxy: HttpProxy, login: str | None, said: str, *, tunnels: bool):
    proxy.login, proxy.tunnels = login, tunnels
    assert await failure_of("https://127.0.0.1:9", proxy=known_to(proxy)) == said


async def test_a_proxy_that_is_not_there_is_named_by_its_setting(unused_tcp_port: int):
    gone = Proxy(f"http://127.0.0.1:{unused_tcp_port}")
    for url in ("http://127.0.0.1:9", "https://127.0.0.1:9"):
        said = await failure_of(url, proxy=gone)
        assert said.startswith("the proxy cannot be reached: ")
        assert said.endswith("(check here.proxy)")


@LOOPS
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.2", "127.0.0.1"]], ids=["one", "the first is dead"])
def test_a_certificate_is_to_name_who_was_asked_and_not_the_address(
    loop: str, addresses: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async def resolve(_self: Connector, host: str, port: int, **_: Any) -> list[dict[str, Any]]:
        return [{"hostname": host, "host": address, "port": port} for address in addresses]

    async def answer(_: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(body=b"ok")

    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.ca_file))

    async def play() -> None:
        async with BareServer(answer, tls=authority.server()) as server:
            assert await answer_of(f"https://localhost:{server.port}/", tls=trusting) == (200, b"ok")
            said = await failure_of(f"https://crm.example:{server.port}/", tls=trusting)
        assert said.startswith("the certificate of it is not trusted (Hostname mismatch")

    monkeypatch.setattr(Connector, "_resolve_host", resolve)
    on(loop, play)


@LOOPS
def test_who_cannot_be_reached_is_told_by_address_and_reason_without_a_word_of_tls(loop: str, unused_tcp_port: int):
    async def play() -> None:
        said = await failure_of(f"http://127.0.0.1:{unused_tcp_port}/secret")
        assert said == f"it cannot be reached: 127.0.0.1:{unused_tcp_port}: Connection refused (check here.url)"

    on(loop, play)


@pytest.mark.parametrize(
    ("cause", "peer", "why", "check"),
    [
        (OSError(111, "Connect call failed ('127.0.0.1', 9)"), "crm.example:9", "Connection refused", "here.url"),
        (
            socket.gaierror(-2, "Name or service not known"),
            "https://crm.example",
            "Name or service not known",
            "here.url",
        ),
        (OSError("no address"), "the server", "crm.example:9: no address", "here.url"),
        (OSError(24, "Too many open files"), "the server", "crm.example:9: Too many open files", "ulimit -Hn"),
    ],
)
def test_the_reason_is_the_systems_and_the_address_is_told_once(cause: OSError, peer: str, why: str, check: str):
    key = ConnectionKey("crm.example", 9, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)
    said = describe(aiohttp.ClientConnectorError(key, cause), peer=peer, table="here")
    assert said == f"{peer} cannot be reached: {why} (check {check})"


@pytest.mark.parametrize(
    ("exc", "said"),
    [
        (aiohttp.ServerDisconnectedError("secret"), "it closed the connection instead of answering"),
        (ConnectionResetError(), "no answer from it: ConnectionResetError"),
        (HeadTooLarge("x"), "the answer of it has x"),
        (
            aiohttp.ConnectionTimeoutError("Connection timeout to host http://it/secret"),
            "it cannot be reached: Connection timeout to host http://it/… (check here.url)",
        ),
        (
            aiohttp.ClientOSError(None, "Can not write request body for https://u:secret@it:1?secret#secret, sorry"),
            "no answer from it: Can not write request body for https://…@it:1?…#… sorry",
        ),
        (OSError("a\r\n\x1b[1mb"), "no answer from it: a [1mb"),
    ],
)
def test_an_error_is_one_line_without_what_was_answered(exc: Exception, said: str):
    assert describe(exc, peer="it", table="here") == said


async def test_what_is_no_http_is_called_so_without_quoting_it():
    async with talking(saying(b"secret\r\n\r\n")) as url:
        assert await failure_of(url) == "the answer of it is not HTTP"


def test_a_proxy_is_used_only_where_one_is_set_and_does_not_show_its_password():
    assert new_proxy(None, user=None, password="") is None
    assert "secret" not in repr(new_proxy("http://127.0.0.1:1", user="listener", password="secret"))
