"""Asking for permission, and keeping to the rate that is allowed."""

import pytest

from listener.errors import Park, Retry
from listener.sinks.webhook.endpoint import Answer as Response
from listener.sinks.webhook.failure import Failure
from listener.sinks.webhook.handshake import RateLimiter, allowed_rate
from listener.testing import ManualClock
from support.events import disposition_event, events_of
from support.receiver import Answer

ORIGIN = "listener.example.com"
ASKING = {"validation": "options", "origin": ORIGIN}


def allowed(origin: str = ORIGIN, rate: str | None = None, status: int = 200) -> Answer:
    headers = {"WebHook-Allowed-Origin": origin} | ({"WebHook-Allowed-Rate": rate} if rate is not None else {})
    return Answer(status=status, headers=headers)


async def test_who_asks_says_who_and_how_often_and_says_so_with_every_request(receiver, make_sink):
    receiver.permission = allowed(rate="*")
    sink = await make_sink(f"{receiver.url}/hook?a=1", request_rate=120, bearer_token="t", **ASKING)
    await sink.deliver(events_of(2))
    (asked,) = receiver.asked
    assert asked.path == "/hook?a=1"
    assert asked.headers["WebHook-Request-Origin"] == ORIGIN
    assert asked.headers["WebHook-Request-Rate"] == "120"
    assert asked.headers["Authorization"] == "Bearer t"
    assert {post.headers["WebHook-Request-Origin"] for post in receiver.posts} == {ORIGIN}


@pytest.mark.parametrize(
    ("permission", "kind", "text"),
    [
        (Answer(), Park, "answered 200 and does not allow us to send: no WebHook-Allowed-Origin"),
        (Answer(status=405), Park, "answered 405 and does not allow us"),
        (Answer(status=404), Park, "answered 404"),
        (Answer(status=410), Park, "disabled"),
        (allowed("other.example.com"), Park, f"WebHook-Allowed-Origin is not {ORIGIN}"),
        (allowed(rate="many"), Park, "is no number"),
        (allowed(rate="0"), Park, "is no number"),
        (Answer(status=503, headers={"Retry-After": "9"}), Retry, "answered 503"),
    ],
)
async def test_without_permission_nothing_is_sent(receiver, make_sink, permission, kind, text):
    receiver.permission = permission
    sink = await make_sink(receiver.url, opened=False, **ASKING)
    for work in (sink.open(), sink.check()):
        with pytest.raises(kind, match=text):
            await work
    assert receiver.posts == []


@pytest.mark.parametrize(
    ("permission", "asked", "rate"),
    [
        (allowed("*"), None, None),
        (allowed(ORIGIN.upper(), "100"), None, 100),
        (allowed("*", "*"), 10, None),
        (allowed("*"), 10, 10),
        (allowed("*", "7", status=405), 10, 7),
    ],
)
def test_the_receiver_names_the_rate(permission, asked, rate):
    answer = Response(status=permission.status, headers=permission.headers, body=b"")
    found = allowed_rate(answer, origin=ORIGIN, rate=asked, where="h:1")
    assert not isinstance(found, Failure)
    assert found == rate


async def test_a_receiver_that_is_not_there_is_asked_again(receiver, make_sink):
    await receiver.stop()
    sink = await make_sink(receiver.url, opened=False, **ASKING)
    with pytest.raises(Retry, match="cannot be reached"):
        await sink.open()
    await receiver.start()
    receiver.permission = allowed()
    await sink.open()
    await sink.deliver([disposition_event(1)])
    assert len(receiver.posts) == 1


async def test_requests_keep_the_distance_that_the_rate_asks_for(monkeypatch):
    clock, waits = ManualClock(), []

    async def sleep(seconds):
        waits.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr("listener.sinks.webhook.handshake.asyncio.sleep", sleep)
    pace = RateLimiter(clock.monotonic)
    await pace.turn()
    assert waits == []
    pace.set(120)
    for _ in range(3):
        await pace.turn()
    clock.advance(0.2)
    await pace.turn()
    clock.advance(60.0)
    await pace.turn()
    assert waits == pytest.approx([0.0, 0.5, 0.5, 0.3, 0.0])


async def test_a_sink_keeps_to_the_rate(receiver, make_sink, monkeypatch):
    turns = []
    receiver.permission = allowed(rate="6000")
    sink = await make_sink(receiver.url, **ASKING)
    turn = sink._rate_limiter.turn

    async def counted():
        turns.append(sink._rate_limiter._distance_s)
        await turn()

    monkeypatch.setattr(sink._rate_limiter, "turn", counted)
    await sink.deliver(events_of(5, chats=5))
    assert turns == [0.01] * 5
