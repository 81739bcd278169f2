"""Bearer tokens and passwords, inline and in files."""

import asyncio
import base64
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from listener.errors import Park, Retry
from support.delivering import outcome_of
from support.events import disposition_event, events_of
from support.receiver import Answer, Receiver


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
    ("content", "problem"),
    [("", "is empty"), ("a\nb", "line 2"), ("a\x01b", "control characters"), (None, "No such file")],
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


SECRET = "PaSs:Wo%Rd"


class Issuer(Receiver):
    """A token endpoint. Counts its tokens in their names; `answer` replaces what they are given with.

    Attributes:
        lifetime_s: of each token.
        more: what else its answer holds.
    """

    lifetime_s: object = 3600
    answer: Answer | None = None

    async def _post(self, request: web.Request) -> web.StreamResponse:
        await super()._post(request)
        await asyncio.sleep(0.01)
        if self.answer is not None:
            return web.Response(status=self.answer.status, headers=self.answer.headers, body=self.answer.body)
        token = {"access_token": f"token-{len(self.posts)}", "token_type": "bearer", "expires_in": self.lifetime_s}
        return web.json_response(token)


@pytest.fixture
async def issuer(owned) -> Issuer:
    return await owned.enter_async_context(Issuer())


@pytest.fixture
async def guarded(make_sink, receiver, issuer):
    """Make a sink that shows tokens."""

    async def make(**more):
        oauth2 = {"token_url": f"{issuer.url}/token", "client_id": "listener", "client_secret": SECRET, **more}
        return await make_sink(receiver.url, oauth2=oauth2)

    return make


def shown(receiver: Receiver) -> list[str | None]:
    return [post.headers.get("Authorization") for post in receiver.posts]


async def test_a_token_is_fetched_once_and_shown_with_every_request(guarded, receiver, issuer):
    sink = await guarded(scope="events:write", audience="crm")
    await sink.deliver(events_of(9, chats=3))
    await sink.deliver([disposition_event(10)])
    assert set(shown(receiver)) == {"Bearer token-1"}
    (asked,) = issuer.posts
    form = {"grant_type": ["client_credentials"], "scope": ["events:write"], "audience": ["crm"]}
    assert parse_qs(asked.body.decode()) == form
    pair = base64.b64decode(asked.headers["Authorization"].removeprefix("Basic ")).decode()
    assert pair == "listener:PaSs%3AWo%25Rd", "RFC 6749, 2.3.1"


async def test_the_secret_may_go_in_the_body(guarded, issuer):
    await (await guarded(client_auth="body")).deliver([disposition_event(1)])
    (asked,) = issuer.posts
    assert "Authorization" not in asked.headers
    form = parse_qs(asked.body.decode())
    assert (form["client_id"], form["client_secret"]) == (["listener"], [SECRET])


@pytest.mark.parametrize(("lifetime_s", "fetches"), [(0, 2), ("0", 2), (3600, 1), (None, 1)])
async def test_a_token_is_kept_until_it_expires(guarded, issuer, lifetime_s, fetches):
    issuer.lifetime_s = lifetime_s
    sink = await guarded()
    for number in (1, 2):
        await sink.deliver([disposition_event(number)])
    assert len(issuer.posts) == fetches


async def test_a_token_that_is_refused_is_replaced_once_for_all_that_were_refused(guarded, receiver, issuer):
    sink = await guarded()
    await sink.deliver([disposition_event(1)])
    receiver.script(*[Answer(status=401, delay_s=0.05)] * 3)
    await sink.deliver(events_of(3, chats=3))
    assert len(issuer.posts) == 2
    assert shown(receiver) == ["Bearer token-1"] * 4 + ["Bearer token-2"] * 3


async def test_who_is_refused_with_a_new_token_too_needs_a_person(guarded, receiver, issuer):
    receiver.answers = Answer(status=401)
    outcome = await outcome_of(await guarded(), [disposition_event(1)])
    assert isinstance(outcome, Park)
    assert (len(receiver.posts), len(issuer.posts)) == (2, 2)


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "after_s"),
    [
        (Answer(status=400, body=b'{"error": "invalid_client"}'), Park, "answered 400: invalid_client", None),
        (Answer(status=401, body=SECRET.encode()), Park, "answered 401", None),
        (Answer(status=302, headers={"Location": "/"}), Park, "answered 302", None),
        (Answer(status=429, headers={"Retry-After": "7"}), Retry, "answered 429", 7.0),
        (Answer(status=503, body=b'{"error": "Pa Ss"}'), Retry, "answered 503", None),
        (Answer(body=b"<html>"), Retry, "answered without a token", None),
        (Answer(body=b'{"x": ' + b"[" * 9000), Retry, "answered without a token", None),
        (Answer(status=503, body=b'{"x": ' + b"[" * 9000), Retry, "answered 503", None),
        (Answer(body=b'{"access_token": "a\\nb"}'), Retry, "answered without a bearer token", None),
        (Answer(body=b'{"access_token": "a", "token_type": "mac"}'), Retry, "without a bearer token", None),
        (Answer(body=b'{"access_token": "a", "expires_in": "soon"}'), Retry, "answered without a token", None),
    ],
)
async def test_a_token_endpoint_that_gives_none_is_told_without_secrets(
    guarded, receiver, issuer, answer, kind, reason, after_s
):
    issuer.answer = answer
    sink = await guarded()
    for work in (sink.deliver([disposition_event(1)]), sink.check()):
        with pytest.raises(kind) as caught:
            await work
        assert caught.value.reason.startswith(f"the token endpoint {issuer.url}/token ")
        assert caught.value.reason.endswith(reason)
        assert getattr(caught.value, "after_s", None) == after_s
        assert SECRET not in caught.value.reason + caught.value.detail
    assert receiver.posts == []


async def test_a_token_endpoint_in_trouble_while_tokens_are_refused_is_waited_for_by_all(guarded, receiver, issuer):
    sink = await guarded()
    await sink.deliver([disposition_event(1)])
    issuer.answer = Answer(status=503)
    receiver.script(*[Answer(status=401, delay_s=0.05)] * 3)
    assert isinstance(await outcome_of(sink, events_of(3, chats=3)), Retry)
    issuer.answer = None
    await sink.deliver(events_of(3, chats=3))
    assert len(receiver.accepted()) == 4


async def test_a_token_endpoint_that_is_not_there_is_a_retry(guarded, issuer):
    await issuer.stop()
    with pytest.raises(Retry, match=rf"^{issuer.url}/token cannot be reached"):
        await (await guarded()).deliver([disposition_event(1)])
