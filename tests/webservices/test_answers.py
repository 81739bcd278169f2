"""One reply, one verdict: the table from HTTP status and statusCode to our errors."""

import asyncio
import json
import ssl
import time
import tracemalloc
from unittest.mock import patch

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import (
    CsrfRejected,
    LoginRefused,
    NotFound,
    OperationForbidden,
    ParameterInvalid,
    ParameterMissing,
    ServerFault,
    Unreachable,
    WebServicesError,
)
from listener.webservices import answers
from listener.webservices.answers import SMALL_BYTES, Answer, Reply, check, decode, elements, pieces, unanswered

JSON = {"Content-Type": "application/json"}
NOW_S = 1_795_340_340.0  # Sun, 22 Nov 2026 09:39:00 GMT


def reply(status, body, headers=JSON):
    return Reply("POST", "/api/v2/me/chats/1", status, headers, body)


def error(status, body, headers=JSON):
    with pytest.raises(WebServicesError) as raised:
        check(reply(status, body, headers), lambda: NOW_S)
    return raised.value


@pytest.mark.parametrize("status", [200, 201])
def test_status_code_zero_is_success(status):
    assert check(reply(status, b'{"statusCode":0,"user":{},"new":[1]}'), lambda: NOW_S) is None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"statusCode":1}', ParameterMissing),
        (400, b'{"statusCode":2}', ParameterInvalid),
        (200, b'{"statusCode":2}', ParameterInvalid),
        (403, b'{"statusCode":3}', OperationForbidden),
        (200, b'{"statusCode":3}', OperationForbidden),
        (500, b'{"statusCode":4}', ServerFault),
        (200, b'{"statusCode":4}', ServerFault),
        (403, b'{"statusCode":5}', OperationForbidden),
        (401, b'{"statusCode":5}', OperationForbidden),
        (404, b'{"statusCode":6}', NotFound),
        (200, b'{"statusCode":7,"failed":[]}', WebServicesError),
        (403, b'{"statusCode":20}', LoginRefused),
        (401, b'{"statusCode":20}', LoginRefused),
        (200, b'{"statusCode":20}', LoginRefused),
        (403, b'{"statusCode":0}', LoginRefused),
        (403, b'{"statusCode":1}', LoginRefused),
        (401, b"", LoginRefused),
        (403, b"<html>Forbidden</html>", LoginRefused),
        (403, b"Missing or invalid Csrf token", CsrfRejected),
        (401, b"<html>Invalid CSRF token</html>", CsrfRejected),
        (200, b'{"statusCode":99}', WebServicesError),
        (200, b'{"statusCode":-1}', WebServicesError),
        (503, b'{"statusCode":1}', ServerFault),
        (503, b"<html>down</html>", ServerFault),
        (429, b'{"statusCode":2}', ServerFault),
        (429, b"", ServerFault),
        (404, b"<html>no such page</html>", ServerFault),
        (404, b'{"statusCode":0}', ServerFault),
        (302, b'{"statusCode":0}', ServerFault),
        (304, b"", ServerFault),
        (200, b"", ServerFault),
        (204, b"", ServerFault),
        (200, b"<html>Please log in</html>", ServerFault),
        (200, b'{"statusCode":', ServerFault),
        (200, b'{"user":{}}', ServerFault),
        (200, b'{"statusCode":"0"}', ServerFault),
        (200, b'{"statusCode":true}', ServerFault),
        (200, b'{"statusCode":null}', ServerFault),
        (200, b'[{"statusCode":0}]', ServerFault),
        (200, b"\xff\xfe", ServerFault),
        (200, b'{"statusCode":0,"a":' + b"[" * 100_000, ServerFault),
    ],
)
def test_every_answer_has_exactly_one_class(status, body, kind):
    raised = error(status, body)
    assert type(raised) is kind
    assert raised.http_status == status


def test_the_text_names_the_request_both_codes_and_the_message():
    raised = error(400, b'{"statusCode":2,"statusMessage":"no such\\n  disposition"}')
    assert str(raised) == "POST /api/v2/me/chats/1: HTTP 400, statusCode 2: no such disposition"
    assert (raised.http_status, raised.status_code) == (400, 2)


def test_a_long_message_is_cut_and_one_of_a_wrong_type_is_left_out():
    assert len(str(error(500, b'{"statusCode":4,"statusMessage":"%s"}' % (b"x" * 5000)))) < 300
    assert str(error(500, b'{"statusCode":4,"statusMessage":{"a":1}}')).endswith("HTTP 500, statusCode 4")


def test_an_answer_that_is_not_json_is_described_and_not_quoted():
    raised = error(200, b"<html>hello</html>", {"Content-Type": "text/html; charset=utf-8"})
    assert str(raised) == (
        "POST /api/v2/me/chats/1: HTTP 200, the answer is not the API's JSON (text/html; charset=utf-8, 18 bytes)"
    )


def test_what_a_head_says_is_told_in_text_that_json_can_hold():
    """A byte beyond UTF-8 is half of a surrogate pair there."""
    raised = error(403, b"", {"Content-Type": "te\udcfft/html\x1b[1m"})
    assert str(raised).endswith("the answer is not the API's JSON (te t/html [1m, 0 bytes)")


def test_a_missing_csrf_token_is_named():
    assert "missing or invalid CSRF token" in str(error(403, b"Missing or invalid Csrf token", {}))


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:pw@sso.example.com/in;jsessionid=1?ticket=2#3", "https://…@sso.example.com/…?…#…"),
        ("/ui/login?back=me", "/ui/login?…"),
        ("/" * 60_000, "/" * 200),
        ("", "nowhere"),
        ("http://[", "an unreadable address"),
    ],
)
def test_a_redirect_says_where_it_pointed_and_keeps_its_secrets(location, shown):
    assert str(error(302, b"", {"Location": location})).endswith(f"a redirect to {shown}, which is not followed")


def test_a_server_fault_carries_the_servers_wish():
    assert error(503, b"", {"Retry-After": "12"}).retry_after_s == 12.0
    assert error(429, b'{"statusCode":4}', {"Retry-After": "12"}).retry_after_s == 12.0
    assert error(500, b"", {}).retry_after_s is None


def test_decode_refuses_another_shape():
    assert decode(reply(200, b'{"statusCode":0}'), Answer).status_code == 0
    with pytest.raises(ServerFault, match=r"POST /api/v2/me/chats/1: .* expected shape"):
        decode(reply(200, b'{"statusCode":[]}'), Answer)


@pytest.mark.parametrize(
    ("exc", "kind", "text"),
    [
        (TimeoutError(), Unreachable, "GET /x: no answer from https://gws within 30 s"),
        (aiohttp.ServerTimeoutError(), Unreachable, "GET /x: no answer from https://gws within 30 s"),
        (
            aiohttp.ServerDisconnectedError(),
            Unreachable,
            "GET /x: https://gws closed the connection instead of answering",
        ),
        (ssl.SSLError("broken"), Unreachable, "GET /x: no answer from https://gws: ('broken',)"),
        (ConnectionResetError(), Unreachable, "GET /x: no answer from https://gws: ConnectionResetError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_no_answer_is_unreachable_with_its_cause(exc, kind, text):
    raised = unanswered(exc, method="GET", path="/x", server="https://gws", timeout_s=30.0)
    assert (type(raised), str(raised)) == (kind, text)
    assert raised.http_status is None


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9) | st.text(alphabet='\\\\"[]{},', max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=3), JSON_VALUES, max_size=3)
FILLING = "\\" * (SMALL_BYTES // 2)


async def listed(text, most=10**6):
    raw = msgspec.Raw(text if isinstance(text, bytes) else text.encode())
    return [json.loads(bytes(one)) for one in await elements(reply(200, b""), raw, most=most, what="users")]


@given(st.lists(OBJECTS, max_size=6), st.integers(1, 40), st.sampled_from([None, 1]))
def test_a_large_list_has_the_elements_of_a_small_one(objects, window, indent):
    with patch.multiple(answers, SMALL_BYTES=0, _WINDOW_BYTES=window):
        assert asyncio.run(listed(json.dumps(objects, ensure_ascii=False, indent=indent))) == objects


@pytest.mark.parametrize("text", ['{"a": 1}', "7", json.dumps({"a": FILLING}), json.dumps(FILLING)])
def test_what_is_no_list_is_of_another_shape(text):
    with pytest.raises(ServerFault, match="not of the expected shape"):
        asyncio.run(listed(text))


@pytest.mark.parametrize("text", ["null", "[]", "[" + "1," * SMALL_BYTES + "1]"])
def test_a_list_may_hold_nothing_of_use(text):
    assert asyncio.run(listed(text)) == []


@pytest.mark.parametrize("count", [11, SMALL_BYTES])
def test_a_list_may_be_too_long(count):
    with pytest.raises(ServerFault, match="the answer lists more than 10 users"):
        asyncio.run(listed("[" + "{}," * count + "{}]", most=10))


@pytest.mark.parametrize("element", ["{}", "[]", "1", '"\\\\"', '{"a":[[],{}]}'])
async def test_no_step_of_a_large_list_takes_long(element):
    """Steps by the CPU that they cost: what else the machine does is no part of it."""
    raw = msgspec.Raw(("[" + f"{element}," * (2 * SMALL_BYTES // len(element)) + "{}]").encode())
    reading = asyncio.ensure_future(elements(reply(200, b""), raw, most=100_000, what="users"))
    steps, before = [], time.thread_time()
    while not reading.done():
        await asyncio.sleep(0)
        steps.append(time.thread_time() - before)
        before = time.thread_time()
    reading.exception()
    assert len(steps) > 5
    assert max(steps) < 0.05


@pytest.mark.parametrize("part", ["statusMessage", "settings"])
def test_what_an_answer_holds_beside_what_is_asked_for_is_not_taken_apart(part):
    reply = Reply("GET", "/p", 200, {}, b'{"statusCode": 0, "%b": [%b[]]}' % (part.encode(), b"[]," * SMALL_BYTES))
    tracemalloc.start()
    try:
        check(reply, time.time)
        assert tracemalloc.get_traced_memory()[1] < SMALL_BYTES
    finally:
        tracemalloc.stop()


@given(st.lists(st.integers(0, 12)))
def test_a_list_is_read_in_pieces_of_so_many_elements_and_bytes(sizes):
    listed = [msgspec.Raw(b"0" * size) for size in sizes]
    with patch.multiple(answers, _PIECE_ELEMENTS=3, _PIECE_BYTES=10):
        read = list(pieces(listed))
    assert [one for piece in read for one in piece] == listed
    assert all(len(piece) == 1 or (len(piece) <= 3 and sum(map(len, map(bytes, piece))) <= 10) for piece in read)
