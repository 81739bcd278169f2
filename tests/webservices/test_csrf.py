"""Which header the server may name for its token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.webservices.csrf import problem_of

RESERVED = [
    *("Content-Length", "Transfer-Encoding", "TE", "Trailer", "Connection", "Keep-Alive", "Upgrade", "Expect"),
    *("Host", "Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Original-URL", "X-Rewrite-URL"),
    *("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "Origin", "Referer", "User-Agent"),
    *("Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Access-Control-Request-Method", "From"),
    *("Accept", "Accept-Encoding", "Content-Type", "Content-Encoding", "Range", "If-Match", "X-HTTP-Method-Override"),
]


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("change", [str, str.upper, str.lower])
def test_headers_that_mean_something_to_http_are_refused_with_a_reason(name, change):
    assert problem_of(change(name), "token").startswith("it says ")


@pytest.mark.parametrize("name", ["X-CSRF-TOKEN", "x-xsrf-token", "RequestVerificationToken", "X-Genesys-CSRF", "csrf"])
def test_other_names_are_taken(name):
    assert problem_of(name, "0a1b-2c3d/==") == ""


@pytest.mark.parametrize("name", ["bad name", "bad:name", "", "x" * 129, "näme", "a\tb"])
def test_what_is_no_name_is_refused(name):
    assert problem_of(name, "token") == "that is no name of a header"


@pytest.mark.parametrize("token", ["", " x", "x ", "a\nb", "a\udcffb", "tökén"])
def test_what_is_no_value_is_refused(token):
    assert problem_of("X-CSRF-TOKEN", token) == "its token cannot be the value of a header"


@given(st.text(max_size=40), st.text(max_size=40))
def test_what_is_taken_can_be_sent(name, token):
    if not problem_of(name, token):
        assert f"{name}: {token}\r\n".encode("ascii").decode("latin-1").split(": ", 1) == [name, f"{token}\r\n"]
