"""Bearer tokens and passwords, inline and in files."""

import base64

import pytest

from listener.errors import Park, Retry
from support.delivering import outcome_of
from support.events import disposition_event
from support.receiver import Answer


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_a_user_and_a_password_are_http_basic(receiver, make_sink, tmp_path):
    (tmp_path / "password").write_text("geheim€\n")
    await (await make_sink(receiver.url, username="jürgen", password_file="password")).deliver([disposition_event(1)])
    await (await make_sink(receiver.url, username="key")).deliver([disposition_event(1)])
    assert [post.headers["Authorization"] for post in receiver.posts] == [basic("jürgen", "geheim€"), basic("key", "")]


async def test_the_probe_shows_them_too(receiver, make_sink):
    sink = await make_sink(receiver.url, username="key", password="PaSsWoRd", headers={"X-Key": "k"})
    await sink.check()
    (asked,) = receiver.asked
    assert (asked.headers["Authorization"], asked.headers["X-Key"]) == (basic("key", "PaSsWoRd"), "k")


async def test_a_password_that_is_quoted_back_is_masked(receiver, make_sink):
    receiver.answers = Answer(status=401, body=b"key:PaSsWoRd is wrong, and so is " + basic("key", "PaSsWoRd").encode())
    outcome = await outcome_of(
        await make_sink(receiver.url, username="key", password="PaSsWoRd"), [disposition_event(1)]
    )
    assert isinstance(outcome, Park)
    assert outcome.detail == "key:*** is wrong, and so is ***"


@pytest.mark.parametrize(
    ("content", "problem"), [("", "is empty"), ("a\nb", "control characters"), (None, "No such file")]
)
async def test_a_token_file_that_holds_none_is_tried_again(receiver, make_sink, tmp_path, content, problem):
    token = tmp_path / "token"
    token.write_text("one")
    sink = await make_sink(receiver.url, bearer_token_file="token")
    if content is None:
        token.unlink()
    else:
        token.write_text(content)
    with pytest.raises(Retry, match=rf"^sinks\.crm\.bearer_token_file: .*{problem}"):
        await sink.deliver([disposition_event(1)])
