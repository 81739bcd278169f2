"""POSTs over a connection that stays: what goes out, what comes back, and which connection is used again."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from listener.runtime.cookies import CookieJar
from listener.runtime.http_client import (
    LARGEST_HEAD,
    LARGEST_HEADER,
    Connector,
    Proxy,
    describe,
    new_session,
)
from listener.runtime.http_post import Answer, Poster
from support.authority import Authority
from support.bareserver import BareServer
from support.eventually import eventually
from support.httpproxy import HttpProxy
from support.loops import LOOPS, on
from support.receiver import Receiver
from support.wire import ByteServer, saying, talking

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Client:
    """A poster, and how it is used here."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.poster = Poster(http, URL(url))

    @property
    def jar(self) -> CookieJar:
        assert isinstance(self.http.cookie_jar, CookieJar)
        return self.http.cookie_jar

    async def ask(self, body: bytes = b"[]", *, within_s: float = 10.0, stays: bool = True, **headers: str) -> Answer:
        until_s = asyncio.get_running_loop().time() + within_s
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.poster.post(body, named, until_s=until_s, connecting_s=lambda: 5.0, stays=stays)

    async def post(self, body: bytes = b"[]", **options: Any) -> tuple[int, bytes]:
        """Status and body."""
        answer = await self.ask(body, **options)
        try:
            got = b""
            while piece := await answer.content.readany():
                got += piece
            return answer.status, got
        finally:
            answer.release()

    async def failure(self, **options: Any) -> str:
        with pytest.raises((aiohttp.ClientError, OSError)) as caught:
            await self.post(**options)
        return describe(caught.value, peer="it", table="here")


@asynccontextmanager
async def posting(url: str, *, headers: dict[str, str] | None = None, **options: Any) -> AsyncIterator[Client]:
    connector = Connector(limit=0, **options)
    async with new_session(connector, cookies=CookieJar(), decompresses=True, headers=headers) as http:
        client = Client(http, url)
        try:
            yield client
        finally:
            client.poster.close()


class Counting:
    """A talk that answers each POST with these bytes, and notes what is asked over which connection.

    Attributes:
        asked: each request, with the number of its connection.
    """

    def __init__(self, answer: bytes = OK, *, then_close: bool = False) -> None:
        self.answer = answer
        self.then_close = then_close
        self.asked: list[tuple[int, bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        number = len(self.writers)
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            self.asked.append((number, head + body))
            writer.write(self.answer)
            if self.then_close:
                return

    @property
    def connections(self) -> list[int]:
        return [number for number, _ in self.asked]


@asynccontextmanager
async def counting(talk: Counting | None = None, **options: Any) -> AsyncIterator[tuple[Counting, Client]]:
    talk = talk or Counting()
    async with ByteServer(talk) as server, posting(f"{server.url}/cometd?a=b", **options) as client:
        yield talk, client


# --- what goes out ----------------------------------------------------------------------------------------------------


async def test_what_goes_out_is_what_aiohttp_itself_would_send():
    async with counting(headers={"X-All": "1"}) as (talk, client):
        client.jar.update_cookies_from_headers(["A=1; Path=/", 'B="two"; Path=/cometd', "C=3; Path=/else"], talk_url())
        client.jar.update_cookies({"D": "4"}, client.poster._url)
        headers = {"Content-Type": "application/json;charset=UTF-8", "X-CSRF-TOKEN": "token"}
        async with client.http.post(client.poster._url, data=b'[{"x": "\xc3\xa9"}]', headers=headers):
            pass
        await client.post(b'[{"x": "\xc3\xa9"}]', **headers)
    lines = [sorted(asked.split(b"\r\n")) for _, asked in talk.asked]
    assert lines[0] == lines[1]
    assert b"POST /cometd?a=b HTTP/1.1" in lines[1]
    assert b"Cookie: A=1; B=two; D=4" in lines[1]


def talk_url() -> URL:
    return URL("http://127.0.0.1/cometd")


async def test_a_request_goes_out_in_one_step(monkeypatch: pytest.MonkeyPatch):
    written: list[bytes] = []
    async with counting() as (_, client):
        await client.post()
        kept = client.poster._kept
        assert kept is not None
        transport = kept.connection.transport
        assert transport is not None
        write = transport.write
        monkeypatch.setattr(transport, "write", lambda data: (written.append(data), write(data)))
        await client.post(b"x" * 1000)
    assert len(written) == 1


async def test_the_head_is_made_anew_only_when_something_in_it_changes(monkeypatch: pytest.MonkeyPatch):
    made = 0
    make = Poster._new_head

    def count(poster: Poster, headers: Any) -> Any:
        nonlocal made
        made += 1
        return make(poster, headers)

    monkeypatch.setattr(Poster, "_new_head", count)
    async with counting() as (talk, client):
        for _ in range(3):
            await client.post(X="1")
        assert made == 1
        await client.post(X="2")
        client.jar.update_cookies({"A": "1"}, client.poster._url)
        await client.post(X="2")
        client.jar.clear()
        await client.post(X="2")
    assert made == 4
    assert [b"\r\nX: 1" in asked for _, asked in talk.asked] == [True] * 3 + [False] * 3
    assert [b"\r\nCookie: A=1" in asked for _, asked in talk.asked] == [False] * 4 + [True, False]


async def test_a_cookie_comes_back_until_the_server_deletes_it():
    async with counting(Counting(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: A=b; Path=/\r\n\r\n"))) as (talk, client):
        await client.post()
        talk.answer = OK
        await client.post()
        talk.answer = OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: A=; Path=/; Max-Age=0\r\n\r\n")
        await client.post()
        await client.post()
    assert [b"Cookie: A=b\r\n" in asked for _, asked in talk.asked] == [False, True, True, False]


@pytest.mark.parametrize("character", "\r\n\0")
async def test_a_header_that_would_end_its_line_is_not_sent(character: str):
    async with counting() as (talk, client):
        with pytest.raises(ValueError, match="end of a line"):
            await client.post(X=f"a{character}b")
    assert talk.asked == []


def test_a_session_that_keeps_no_cookies_is_refused():
    async def play() -> None:
        async with new_session(Connector(limit=0)) as http:
            with pytest.raises(TypeError):
                Poster(http, talk_url())

    asyncio.run(play())


# --- what comes back --------------------------------------------------------------------------------------------------


@LOOPS
@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100 + OK,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n" + gzip.compress(b"ok"),
    ],
    ids=["length", "chunks", "interim", "gzip"],
)
def test_an_answer_of_any_framing_is_read_again_and_again_over_one_connection(loop: str, answer: bytes):
    async def play() -> None:
        async with counting(Counting(answer)) as (talk, client):
            for _ in range(3):
                assert await client.post() == (200, b"ok")
        assert talk.connections == [1, 1, 1]

    on(loop, play)


async def test_a_body_without_a_length_ends_with_its_connection():
    async with counting(Counting(b"HTTP/1.1 200 OK\r\n\r\nok", then_close=True)) as (talk, client):
        for _ in range(2):
            assert await client.post() == (200, b"ok")
    assert talk.connections == [1, 2]


async def test_a_body_that_came_with_its_head_is_there_without_waiting():
    async with counting() as (_, client):
        answer = await client.ask()
        assert (answer.whole(2), answer.reason, answer.headers["content-length"]) == (b"ok", "OK", "2")
        answer.release()


async def test_a_body_that_is_not_whole_is_not_taken_for_one():
    async with counting(Counting(OK[:-1])) as (_, client):
        answer = await client.ask()
        assert answer.whole(9) is None
        answer.release()


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_body_that_is_larger_than_asked_for_is_left_to_be_read_as_it_comes(encoding: str):
    body = gzip.compress(b"o" * 100) if encoding == "gzip" else b"o" * 100
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with counting(Counting(head + body)) as (_, client):
        answer = await client.ask()
        assert answer.whole(99) is None
        assert await answer.content.readany() == b"o" * 100
        answer.release()


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(status: int, receiver: Receiver):
    location = f"HTTP/1.1 {status} Found\r\nLocation: {receiver.url}\r\nContent-Length: 0\r\n\r\n".encode()
    async with counting(Counting(location)) as (_, client):
        assert await client.post() == (status, b"")
    assert (receiver.posts, receiver.asked) == ([], [])


@LOOPS
def test_a_header_line_of_more_than_64_kib_is_refused_by_its_name(loop: str):
    async def play() -> None:
        head = b"HTTP/1.1 200 OK\r\nX-Secret-Thing: " + b"x" * (LARGEST_HEADER + 1) + b"\r\n\r\n"
        async with talking(saying(head)) as url, posting(url) as client:
            assert await client.failure() == "the answer of it has the header X-Secret-Thing, longer than 64 KiB"
        async with talking(saying(OK[:-6], b"\r\nX: " + b"x" * 60_000 + b"\r\n\r\nok")) as url, posting(url) as client:
            assert await client.post() == (200, b"ok")

    on(loop, play)


@LOOPS
def test_interim_answers_without_end_are_a_failure(loop: str):
    async def play() -> None:
        async with talking(saying(for_ever=b"HTTP/1.1 102 \r\n\r\n" * 1000)) as url, posting(url) as client:
            said = await client.failure()
        assert said == "the answer of it has a head of more than 256 KiB, interim answers included"

    on(loop, play)


async def test_heads_are_counted_one_by_one():
    answer = OK.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 60_000 + b"\r\n\r\n")
    async with counting(Counting(answer)) as (talk, client):
        for _ in range(LARGEST_HEAD // 60_000 + 2):
            assert await client.post() == (200, b"ok")
    assert set(talk.connections) == {1}


async def test_no_step_takes_more_than_a_slice_of_what_has_come(monkeypatch: pytest.MonkeyPatch):
    given: list[int] = []
    take = aiohttp.client_proto.ResponseHandler.data_received

    def count(handler: Any, data: bytes) -> None:
        given.append(len(data))
        take(handler, data)

    monkeypatch.setattr(aiohttp.client_proto.ResponseHandler, "data_received", count)
    size = 2**20
    large = saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, b"x" * size)
    async with talking(large) as url, posting(url) as client:
        assert len((await client.post())[1]) == size
    assert max(given) <= 16 * 1024


async def test_what_is_no_http_is_called_so_without_quoting_it():
    async with talking(saying(b"secret\r\n\r\n")) as url, posting(url) as client:
        assert await client.failure() == "the answer of it is not HTTP"


async def test_a_server_that_hangs_up_is_told_and_not_asked_again():
    async with counting(Counting(b"", then_close=True)) as (talk, client):
        assert await client.failure() == "it closed the connection instead of answering"
    assert len(talk.asked) == 1


async def test_a_server_that_cannot_be_reached_is_told(unused_tcp_port: int):
    async with posting(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.post()


# --- how long ---------------------------------------------------------------------------------------------------------


@LOOPS
def test_a_head_that_does_not_come_in_time_ends_the_connection(loop: str):
    async def play() -> None:
        async with counting(Counting(b"HTTP/1.1 200")) as (talk, client):
            with pytest.raises(TimeoutError):
                await client.post(within_s=0.1)
            talk.answer = OK
            assert await client.post() == (200, b"ok")
        assert talk.connections == [1, 2]

    on(loop, play)


@LOOPS
def test_each_post_has_its_own_time_whatever_the_others_had(loop: str):
    async def play() -> None:
        async with counting() as (talk, client):
            now = asyncio.get_running_loop().time
            for within_s in (1.2, 5.0, 1.1, 10.0):
                assert await client.post(within_s=within_s) == (200, b"ok")
            await asyncio.sleep(1.25)
            talk.answer = b""
            begun = now()
            with pytest.raises(TimeoutError):
                await client.post(within_s=0.3)
            assert 0.29 <= now() - begun < 2
        assert set(talk.connections) == {1}

    on(loop, play)


async def test_a_hundred_posts_need_one_timer(monkeypatch: pytest.MonkeyPatch):
    loop = asyncio.get_running_loop()
    set_for: list[float] = []
    call_at = loop.call_at

    def count(when: float, *args: Any, **more: Any) -> Any:
        set_for.append(when)
        return call_at(when, *args, **more)

    async with counting() as (_, client):
        await client.post(within_s=60)
        monkeypatch.setattr(loop, "call_at", count)
        for _ in range(100):
            await client.post(within_s=60)
        assert set_for == []


async def test_the_pools_only_connection_is_waited_for_no_longer_than_the_connection_may_take():
    talk = Counting(b"")
    async with ByteServer(talk) as server, new_session(Connector(limit=1), cookies=CookieJar()) as http:
        client = Client(http, server.url)
        held = asyncio.create_task(client.ask())
        await eventually(lambda: talk.asked)
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await client.poster.post(
                b"", {}, until_s=asyncio.get_running_loop().time() + 9, connecting_s=lambda: 0.1, stays=True
            )
        held.cancel()
        with suppress(asyncio.CancelledError):
            await held


# --- which connection is used again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("stays", [True, False])
async def test_a_connection_is_used_again(*, stays: bool):
    async with counting() as (talk, client):
        for _ in range(3):
            await client.post(stays=stays)
    assert talk.connections == [1, 1, 1]


async def test_one_that_was_closed_while_idle_is_not():
    async with counting() as (talk, client):
        await client.post()
        talk.writers[0].close()
        await asyncio.sleep(0.05)
        assert await client.post() == (200, b"ok")
    assert talk.connections == [1, 2]


async def test_one_that_was_idle_for_too_long_is_not():
    async with counting(keepalive_s=0.05) as (talk, client):
        await client.post()
        await asyncio.sleep(0.1)
        await client.post()
    assert talk.connections == [1, 2]


async def test_one_on_which_something_came_unasked_is_not():
    """Some servers say 408 of their own accord before they close: it is no answer to what is asked next."""
    async with counting() as (talk, client):
        await client.post()
        talk.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.05)
        assert await client.post() == (200, b"ok")
    assert talk.connections == [1, 2]


async def test_one_that_the_server_wants_closed_is_not():
    async with counting(Counting(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) as (talk, client):
        await client.post()
        await client.post()
    assert talk.connections == [1, 2]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le"], ids=["nothing", "half a head"])
async def test_one_on_which_a_post_was_cancelled_is_not(answer: bytes):
    async with counting() as (talk, client):
        await client.post()
        talk.answer = answer
        asking = asyncio.create_task(client.post())
        await eventually(lambda: len(talk.asked) == 2)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        talk.answer = OK
        assert await client.post() == (200, b"ok")
    assert talk.connections == [1, 1, 2]


@pytest.mark.parametrize("stays", [True, False])
async def test_one_whose_body_was_not_read_to_its_end_is_not(*, stays: bool):
    async with counting(Counting(OK[:-1])) as (talk, client):
        (await client.ask(stays=stays)).release()
        talk.answer = OK
        assert await client.post(stays=stays) == (200, b"ok")
    assert talk.connections == [1, 2]


async def test_two_posts_at_once_have_a_connection_each_and_one_stays():
    async with counting() as (talk, client):
        first, second = await client.ask(), await client.ask()
        for answer in (first, second):
            assert answer.whole(9) == b"ok"
            answer.release()
        for _ in range(2):
            await client.post()
    assert sorted(talk.connections) == [1, 1, 1, 2] or sorted(talk.connections) == [1, 2, 2, 2]


async def test_what_was_kept_is_the_connectors_again_in_the_end():
    async with counting() as (talk, client):
        await client.post()
        client.poster.close()
        async with client.http.post(client.poster._url, data=b"") as response:
            assert await response.read() == b"ok"
    assert talk.connections == [1, 1]


# --- through what -----------------------------------------------------------------------------------------------------


async def test_http_through_a_proxy_is_asked_for_by_its_whole_url_with_the_password_of_now():
    async with HttpProxy(login="listener:secret") as proxy:
        known = Proxy(proxy.url, user="listener", password="wrong")
        async with talking(saying(OK)) as url, posting(f"{url}/a?b=c#d", proxy=known) as client:
            assert (await client.post())[0] == 407
            await asyncio.sleep(0.05)  # it hangs up behind that
            known.set_password("secret")
            assert await client.post() == (200, b"ok")
        assert [(asked.method, asked.target) for asked in proxy.asked] == [("POST", f"{url}/a?b=c")] * 2


@LOOPS
def test_https_through_a_proxy_is_a_tunnel_in_which_the_certificate_is_verified(loop: str, tmp_path: Path):
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=b"ok")

    authority = Authority(tmp_path)
    trusting = ssl.create_default_context(cafile=str(authority.ca_file))

    async def play() -> None:
        async with HttpProxy(login="a:b") as proxy, BareServer(answer, tls=authority.server()) as server:
            known = Proxy(proxy.url, user="a", password="b")
            async with posting(server.url, proxy=known, tls=trusting) as client:
                for _ in range(3):
                    assert await client.post(Authorization="Bearer mine") == (200, b"ok")
            assert [asked.method for asked in proxy.asked] == ["CONNECT"]
            assert "mine" not in proxy.asked[0].head
            assert "Proxy-Authorization" not in server.requests[0]
            async with posting(server.url, proxy=known) as client:
                assert "is not trusted" in await client.failure()

    on(loop, play)


async def test_a_proxy_that_refuses_us_is_told():
    async with (
        HttpProxy(login="a:b") as proxy,
        posting("https://127.0.0.1:9", proxy=Proxy(proxy.url, user="a", password="c")) as client,
    ):
        with pytest.raises(aiohttp.ClientHttpProxyError):
            await client.post()


async def test_no_variable_of_the_environment_leads_anywhere(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with counting() as (_, client):
        assert await client.post() == (200, b"ok")
