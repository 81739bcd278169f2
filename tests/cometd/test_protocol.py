"""The rules of the session, without a socket: what is sent next, and what an answer means."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.cometd.messages import decode
from listener.cometd.protocol import Phase, Received, Request, Resume, Session, Step, Verdict
from support.script import FRESH, TOPIC, UNKNOWN, event, replies

ACK = {"ext": {"ack": True}}


def new(**more: Any) -> Session:
    return Session(topics=[TOPIC], connection_type="long-polling", **more)


def answer(session: Session, request: Request, *messages: dict[str, Any]) -> Received:
    return session.receive(request, decode(json.dumps(messages).encode()).messages)


def grant(session: Session, **fields: Any) -> Request:
    """Take the session through its handshake."""
    request = session.next_request()
    known = {"clientId": "c1", "supportedConnectionTypes": ["long-polling"], "advice": FRESH}
    received = answer(session, request, *replies(request, **{**known, **fields}))
    assert received.verdict is Verdict.GRANTED
    return request


def subscribe(session: Session) -> None:
    request = session.next_request()
    assert request.step is Step.SUBSCRIBE
    assert answer(session, request, *replies(request)).verdict is Verdict.GRANTED


def connect(session: Session, *events: dict[str, Any], **fields: Any) -> Received:
    """The next connect, answered so."""
    request = session.next_request()
    assert request.step is Step.CONNECT
    return answer(session, request, *events, *replies(request, **fields))


def connected(**fields: Any) -> Session:
    session = new()
    grant(session, **fields)
    subscribe(session)
    connect(session, **({"ext": {"ack": 1}} if fields else {}))
    session.confirm(1)
    return session


def numbers(received: Received) -> list[int]:
    return [json.loads(bytes(message.data))["n"] for message in received.events]


# --- what is sent ---------------------------------------------------------------------------------------------------


def test_the_handshake_is_alone_in_its_request_and_asks_for_acknowledgements():
    request = new().next_request()
    (message,) = request.payload
    assert message == {
        "id": "1",
        "channel": "/meta/handshake",
        "version": "1.0",
        "minimumVersion": "1.0",
        "supportedConnectionTypes": ["long-polling"],
        "ext": {"ack": True},
    }


def test_acknowledgements_are_not_asked_for_where_the_configuration_says_so():
    assert "ext" not in new(want_ack=False).next_request().payload[0]


def test_every_handshake_is_followed_by_a_subscription_before_the_first_connect():
    session = connected()
    connect(session, **UNKNOWN)
    assert session.phase is Phase.UNCONNECTED
    grant(session)
    request = session.next_request()
    (message,) = request.payload
    assert (message["channel"], message["subscription"]) == ("/meta/subscribe", TOPIC)
    answer(session, request, *replies(request))
    assert session.next_request().step is Step.CONNECT


def test_the_first_connect_asks_for_an_answer_at_once_and_the_second_does_not():
    session = new()
    grant(session)
    subscribe(session)
    first = session.next_request()
    assert first.payload[0]["advice"] == {"timeout": 0}
    assert first.hold_ms == 0
    answer(session, first, *replies(first))
    second = session.next_request()
    assert "advice" not in second.payload[0]
    assert second.hold_ms == 30_000


def test_the_first_connect_after_any_failure_asks_for_an_answer_at_once():
    session = connected()
    session.fail(session.next_request())
    assert session.next_request().payload[0]["advice"] == {"timeout": 0}
    connect(session)
    connect(session, successful=False, error="500::busy")
    assert session.next_request().payload[0]["advice"] == {"timeout": 0}
    connect(session)
    assert "advice" not in session.next_request().payload[0]


def test_no_two_messages_of_a_session_share_an_id():
    session = connected()
    ids = [m["id"] for _ in range(3) for m in session.next_request().payload]
    ids += [m["id"] for m in session.keep_alive().payload]
    assert len(set(ids)) == len(ids)


# --- acknowledgements -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "first"),
    [
        ({"ack": True}, -1),
        ({"ack": {"enabled": True, "batch": 7}}, 7),
        ({"ack": {"enabled": True}}, -1),
        ({"ack": {"enabled": False, "batch": 7}}, None),
        ({"ack": False}, None),
        ({"ack": "true"}, None),
        ({"ack": 1}, None),
        ({}, None),
        ([], None),
        ("ack", None),
    ],
)
def test_only_the_two_forms_of_a_grant_turn_acknowledgements_on(granted: Any, first: int | None):
    session = new()
    grant(session, ext=granted)
    subscribe(session)
    assert session.ack_granted is (first is not None)
    message = session.next_request().payload[0]
    assert message.get("ext") == (None if first is None else {"ack": first})


def test_the_number_is_echoed_only_after_its_events_are_confirmed():
    session = connected(**ACK)
    received = connect(session, event(1), ext={"ack": 17})
    assert (numbers(received), received.ack) == ([1], 17)
    assert session.next_request().payload[0]["ext"] == {"ack": 1}
    session.confirm(received.ack)
    assert session.next_request().payload[0]["ext"] == {"ack": 17}


def test_a_number_never_goes_back():
    session = connected(**ACK)
    session.confirm(5)
    session.confirm(3)
    session.confirm(None)
    assert session.acked == 5


def test_a_batch_with_a_number_that_is_durable_is_repeated_and_not_handed_out():
    session = connected(**ACK)
    session.confirm(4)
    received = connect(session, event(1), event(2), ext={"ack": 4})
    assert (received.events, received.ack, received.repeated) == ([], None, 2)


def test_the_same_events_under_a_new_number_are_taken_for_their_answer_was_lost():
    session = connected(**ACK)
    session.fail(session.next_request())
    received = connect(session, event(1), ext={"ack": 9})
    assert (numbers(received), received.ack) == ([1], 9)


@pytest.mark.parametrize("ext", [None, {}, {"ack": "9"}, {"ack": True}, "9", []])
def test_events_without_a_number_are_taken_and_nothing_is_acknowledged(ext: Any):
    session = connected(**ACK)
    received = connect(session, event(1), **({} if ext is None else {"ext": ext}))
    assert (numbers(received), received.ack) == ([1], None)


def test_what_comes_ahead_of_its_number_waits_for_it():
    """CometD writes each event into a websocket frame of its own, the reply with the number into the last."""
    session = connected(**ACK)
    request = session.next_request()
    assert answer(session, request, event(1)).events == []
    assert answer(session, request, event(2)).verdict is Verdict.UNANSWERED
    received = answer(session, request, *replies(request, ext={"ack": 6}))
    assert (numbers(received), received.ack) == ([1, 2], 6)


def test_what_came_ahead_of_a_number_that_never_came_is_not_doubled():
    session = connected(**ACK)
    request = session.next_request()
    answer(session, request, event(1))
    session.fail(request)
    assert numbers(connect(session, event(1), ext={"ack": 6})) == [1]


def test_without_acknowledgements_events_are_taken_as_they_come():
    session = connected()
    request = session.next_request()
    assert numbers(answer(session, request, event(1))) == [1]
    assert numbers(answer(session, request, event(2), *replies(request))) == [2]


# --- replies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("convert", [str, int])
def test_a_reply_is_known_by_its_id_as_a_string_or_as_a_number(convert: Any):
    session = new()
    request = session.next_request()
    fields = {"clientId": "c1", "id": convert(request.payload[0]["id"])}
    assert answer(session, request, *replies(request, **fields)).verdict is Verdict.GRANTED


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [0, 2, 1]])
def test_events_may_stand_before_and_behind_the_reply(order: list[int]):
    session = connected()
    request = session.next_request()
    messages = [event(1), event(2), *replies(request)]
    received = answer(session, request, *(messages[n] for n in order))
    assert received.verdict is Verdict.GRANTED
    assert sorted(numbers(received)) == [1, 2]


def test_events_may_ride_on_any_reply():
    session = new()
    grant(session)
    request = session.next_request()
    assert numbers(answer(session, request, *replies(request), event(5))) == [5]


def test_the_reply_to_another_request_is_no_answer():
    session = connected()
    request = session.next_request()
    stranger = {"channel": "/meta/connect", "id": "999", "successful": True}
    assert answer(session, request, stranger).verdict is Verdict.UNANSWERED
    assert session.phase is Phase.CONNECTED


def _without_ids(request: Request, **fields: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != "id"} for one in replies(request, **fields)]


def test_replies_without_an_id_are_known_by_their_channel_and_subscription():
    """Bayeux leaves the id to the server."""
    session = Session(topics=[TOPIC, "/other"], connection_type="long-polling")
    shake = session.next_request()
    granted = {"clientId": "c1", "supportedConnectionTypes": ["long-polling"], "advice": FRESH}
    assert answer(session, shake, *_without_ids(shake, **granted)).verdict is Verdict.GRANTED
    subscription = session.next_request()
    one, other = (
        {"channel": "/meta/subscribe", "successful": True, "subscription": name} for name in (TOPIC, "/other")
    )
    stranger = {**other, "subscription": "/stranger"}
    assert answer(session, subscription, one, stranger).verdict is Verdict.UNANSWERED
    assert answer(session, subscription, one, other).verdict is Verdict.GRANTED
    poll = session.next_request()
    assert answer(session, poll, one).verdict is Verdict.UNANSWERED
    received = answer(session, poll, event(1), *_without_ids(poll))
    assert (received.verdict, numbers(received)) == (Verdict.GRANTED, [1])


@pytest.mark.parametrize("truth", [True, "true", "True", "TRUE", 1, "1"])
def test_success_may_be_written_in_other_ways(truth: Any):
    session = new()
    grant(session, successful=truth)
    request = session.next_request()
    assert answer(session, request, *replies(request, successful=truth)).verdict is Verdict.GRANTED
    assert connect(session, successful=truth).verdict is Verdict.GRANTED


@pytest.mark.parametrize("falsehood", [False, "false", "False", 0, "0"])
def test_so_may_failure(falsehood: Any):
    session = new()
    request = session.next_request()
    denied = replies(request, successful=falsehood, clientId="c1")
    assert answer(session, request, *denied).verdict is Verdict.REFUSED
    assert connect(connected(), successful=falsehood).verdict is Verdict.REFUSED


def test_an_event_that_bears_the_id_of_a_request_is_no_reply():
    session = connected()
    request = session.next_request()
    received = answer(session, request, {**event(1), "id": request.payload[0]["id"]})
    assert received.verdict is Verdict.UNANSWERED
    assert numbers(received) == [1]


def test_a_publish_is_answered_on_its_own_channel():
    session = connected()
    request = session.request("/chat", data={})
    assert answer(session, request, *replies(request)).verdict is Verdict.GRANTED
    refused = answer(session, session.request("/chat", data={}), {"channel": "/chat", "id": "5", "successful": False})
    assert refused.verdict is Verdict.REFUSED


# --- failures -------------------------------------------------------------------------------------------------------

UNKNOWN_CLIENT = ["402::Unknown client", "402:c1:whatever", "403::Unknown client", "401:c1:Unknown client"]


@pytest.mark.parametrize("error", UNKNOWN_CLIENT)
@pytest.mark.parametrize("step", [Step.SUBSCRIBE, Step.CONNECT])
def test_an_unknown_client_shakes_hands_again_even_without_advice(step: Step, error: str):
    session = new()
    grant(session)
    if step is Step.CONNECT:
        subscribe(session)
    request = session.next_request()
    assert request.step is step
    assert answer(session, request, *replies(request, successful=False, error=error)).verdict is Verdict.EXPIRED
    assert session.next_request().step is Step.HANDSHAKE


def test_a_topic_that_is_not_allowed_is_not_an_unknown_client():
    session = new()
    grant(session)
    request = session.next_request()
    refused = replies(request, successful=False, error="403:/v2/me/chats:Subscribe denied")
    assert answer(session, request, *refused).verdict is Verdict.UNAUTHORIZED
    assert session.next_request().step is Step.SUBSCRIBE


@pytest.mark.parametrize("error", ["401::Authentication invalid", "403::Handshake denied", "401:c1:", "403"])
@pytest.mark.parametrize("step", [Step.HANDSHAKE, Step.SUBSCRIBE, Step.CONNECT])
def test_a_login_that_ran_out_is_told_from_an_unknown_client_and_costs_no_session(step: Step, error: str):
    session = new()
    if step is not Step.HANDSHAKE:
        grant(session)
    if step is Step.CONNECT:
        subscribe(session)
    client_id, request = session.client_id, session.next_request()
    refused = answer(session, request, *replies(request, successful=False, error=error))
    assert (refused.verdict, refused.error) == (Verdict.UNAUTHORIZED, error)
    assert (session.next_request().step, session.client_id) == (step, client_id)


@pytest.mark.parametrize("error", [None, 402, "", "٤٠٢::x", "9" * 5000 + "::x", {"a": 1}])
def test_an_unreadable_error_is_a_refusal_and_costs_no_session(error: Any):
    session = connected()
    verdicts = {connect(session, successful=False, error=error).verdict for _ in range(10)}
    assert verdicts == {Verdict.REFUSED}
    assert (session.next_request().step, session.client_id) == (Step.CONNECT, "c1")


def test_the_error_of_a_refusal_is_told():
    assert connect(connected(), successful=False, error="500::busy").error == "500::busy"
    assert connect(connected(), successful=False).error == "/meta/connect was not successful"
    for word in ("none", "handshake"):
        ended = connect(connected(), successful=True, advice={"reconnect": word})
        assert ended.error == "the server ended the session"


def test_what_is_refused_beside_the_cycle_does_not_end_the_session():
    session = connected()
    for _ in range(5):
        request = session.request("/meta/subscribe", subscription="/other")
        assert answer(session, request, *replies(request, successful=False)).verdict is Verdict.REFUSED
    assert session.phase is Phase.CONNECTED


def test_an_answer_on_a_session_that_was_given_up_meanwhile_does_not_revive_it():
    session = connected()
    held = session.next_request()
    beside = session.request("/meta/subscribe", subscription="/other")
    answer(session, beside, *replies(beside, successful=False, error="402::Unknown client"))
    received = answer(session, held, event(1), *replies(held))
    assert (received.verdict, numbers(received)) == (Verdict.EXPIRED, [1])
    assert (session.phase, session.snapshot(None)) == (Phase.UNCONNECTED, None)


@pytest.mark.parametrize("successful", [True, False])
def test_reconnect_none_ends_the_session_and_its_events_are_kept(successful: bool):
    session = connected()
    received = connect(session, event(1), successful=successful, advice={"reconnect": "none"})
    assert (received.verdict, numbers(received)) == (Verdict.ENDED, [1])
    assert session.next_request().step is Step.HANDSHAKE


def test_a_successful_connect_may_ask_for_a_handshake():
    session = connected(**ACK)
    received = connect(session, event(1), ext={"ack": 2}, advice={"reconnect": "handshake"})
    assert (received.verdict, numbers(received)) == (Verdict.EXPIRED, [1])


@pytest.mark.parametrize("successful", [True, False])
def test_a_negative_interval_forbids_this_session_but_not_the_next(successful: bool):
    session = connected()
    assert connect(session, successful=successful, advice={"interval": -1}).verdict is Verdict.ENDED
    assert session.interval_ms == 0
    grant(session)
    subscribe(session)
    assert connect(session).verdict is Verdict.GRANTED


@pytest.mark.parametrize(
    ("client_id", "said"),
    [
        ("c" * 1025, "the server's client id is longer than 1024 bytes"),
        ("ü" * 513, "the server's client id is longer than 1024 bytes"),
        ("", "the server granted a handshake without a client id"),
        (["c1"], "the server granted a handshake without a client id"),
    ],
    ids=["long", "long in bytes", "empty", "no text"],
)
def test_a_client_id_that_cannot_be_kept_is_refused_with_the_reason(client_id: Any, said: str):
    session = new()
    request = session.next_request()
    received = answer(session, request, *replies(request, clientId=client_id))
    assert (received.verdict, received.error, session.client_id) == (Verdict.REFUSED, said, None)


def test_of_the_transports_that_a_server_offers_a_bounded_number_is_kept():
    session = new()
    grant(session, supportedConnectionTypes=["long-polling", 5, "x" * 10**6, *(f"type-{n}" for n in range(1000))])
    assert session.supported_connection_types[0] == "long-polling"
    assert sum(map(len, session.supported_connection_types)) < 1000


def test_a_client_id_of_one_kibibyte_is_taken():
    session = new()
    grant(session, clientId="c" * 1024)
    assert session.client_id == "c" * 1024


@pytest.mark.parametrize(
    "fields", [{"successful": False}, {"successful": True}, {"clientId": ""}, {"clientId": 5}, {"successful": None}]
)
def test_a_handshake_is_granted_only_with_a_client_id(fields: dict[str, Any]):
    session = new()
    request = session.next_request()
    fields = {"clientId": None, **fields} if "clientId" not in fields else fields
    assert answer(session, request, *replies(request, **fields)).verdict is Verdict.REFUSED
    assert session.next_request().step is Step.HANDSHAKE


def test_a_handshake_that_is_denied_with_reconnect_none_is_tried_again():
    session = new()
    request = session.next_request()
    denied = replies(request, successful=False, error="403::Handshake denied", advice={"reconnect": "none"})
    assert answer(session, request, *denied).verdict is Verdict.UNAUTHORIZED


# --- advice ---------------------------------------------------------------------------------------------------------


def test_advice_is_merged_and_in_milliseconds():
    session = connected()
    connect(session, advice={"interval": 1500})
    assert (session.interval_ms, session.timeout_ms) == (1500, 30_000)
    connect(session, **UNKNOWN)
    assert (session.interval_ms, session.timeout_ms) == (0, 30_000)
    connect_timeout = {"timeout": 5000, "maxInterval": 8000}
    grant(session, advice=connect_timeout)
    assert (session.timeout_ms, session.max_interval_ms) == (5000, 8000)


@given(st.dictionaries(st.sampled_from(["interval", "timeout", "maxInterval", "reconnect"]), st.none() | st.text()))
def test_unreadable_advice_is_ignored(advice: dict[str, Any]):
    session = connected()
    received = connect(session, advice={**advice, "reconnect": "retry"})
    assert received.verdict is Verdict.GRANTED
    assert (session.interval_ms, session.timeout_ms, session.max_interval_ms) == (0, 30_000, None)


def test_advice_that_nobody_asked_for_is_not_kept():
    """A server may put anything there, with each answer something else."""
    session = connected()
    known = dict(session.advice)
    for number in range(50):
        connect(session, advice={f"member-{number}": "x" * 1000, "timeout": ["x"], "reconnect": "x" * 1000})
    assert session.advice == known


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_no_advised_number_is_beyond_a_day(number: float):
    session = connected()
    session.advise({"interval": number, "timeout": number, "maxInterval": number})
    assert 0 <= session.interval_ms <= 86_400_000
    assert 0 <= session.timeout_ms <= 86_400_000
    assert 0 <= (session.max_interval_ms or 0) <= 86_400_000
    assert session.interval_ms <= session.lifetime_s * 500, "time is left to repeat the connect"


@pytest.mark.parametrize(
    ("advised_ms", "max_interval_ms", "obeyed_ms"),
    [
        (2000, None, 2000),
        (60_000, None, 5000),
        (1e18, 20_000, 10_000),
        (10_000, 20_000, 10_000),
        (60_000, 600_000, 60_000),
    ],
)
def test_an_advised_interval_is_obeyed_as_far_as_the_session_outlives_it(
    advised_ms: float, max_interval_ms: int | None, obeyed_ms: int
):
    session = connected()
    session.advise({"interval": advised_ms, "maxInterval": max_interval_ms})
    assert session.interval_ms == obeyed_ms


def test_several_clients_in_one_cookie_jar_are_reported():
    advice = {"multiple-clients": True, "interval": 2000}
    received = connect(connected(), advice=advice)
    assert (received.verdict, received.multiple_clients) == (Verdict.GRANTED, True)
    assert not connect(connected(), advice={"multiple-clients": "false"}).multiple_clients


# --- channels -------------------------------------------------------------------------------------------------------

NAMES = st.lists(st.sampled_from(["v2", "me", "chats", "x"]), min_size=1, max_size=4).map("/".join)
STAR, STARS = "/v2/me/*", "/v2/**"


@given(
    st.lists(NAMES.map(lambda name: f"/{name}"), max_size=6), st.sets(st.sampled_from([TOPIC, STAR, STARS]), min_size=1)
)
def test_events_of_channels_that_were_not_subscribed_are_refused_and_counted(channels: list[str], topics: set[str]):
    session = Session(topics=sorted(topics), connection_type="long-polling")
    grant(session)
    ours = [
        channel
        for channel in channels
        if channel in topics
        or (STAR in topics and channel.startswith("/v2/me/") and channel.count("/") == 3)
        or (STARS in topics and channel.startswith("/v2/"))
    ]
    events = [{"channel": channel, "data": {"n": number}} for number, channel in enumerate(channels)]
    received = answer(session, session.next_request(), *events)
    assert [message.channel for message in received.events] == ours
    assert received.refused.get("not_subscribed", 0) == len(channels) - len(ours)


def test_with_acknowledgements_what_is_refused_is_acknowledged_as_well():
    session = connected(**ACK)
    received = connect(session, {"channel": "/other", "data": {}}, ext={"ack": 2})
    assert (received.events, received.refused, received.ack) == ([], {"not_subscribed": 1}, 2)


# --- from one process to the next -----------------------------------------------------------------------------------


def test_a_saved_session_goes_on_with_its_number_and_then_subscribes_again():
    session = new()
    session.resume(Resume(client_id="old", connection_type="long-polling", ack=41, max_interval_ms=8000))
    first = session.next_request()
    message = first.payload[0]
    assert first.step is Step.CONNECT, "the server keeps the session from now on"
    assert (message["ext"], message["advice"], message["clientId"]) == ({"ack": 41}, {"timeout": 0}, "old")
    assert session.max_interval_ms == 8000
    answer(session, first, *replies(first))
    second = session.next_request()
    assert (second.step, second.payload[0]["clientId"]) == (Step.SUBSCRIBE, "old")
    answer(session, second, *replies(second))
    held = session.next_request()
    assert (held.step, held.hold_ms, "advice" in held.payload[0]) == (Step.CONNECT, 30_000, False)


def test_a_saved_session_that_cannot_subscribe_again_is_kept_by_connects_meanwhile():
    session = new()
    session.resume(Resume(client_id="old", connection_type="long-polling", ack=41))
    steps = []
    for _ in range(3):
        for fields in ({}, {"successful": False}):
            request = session.next_request()
            steps.append(request.step)
            answer(session, request, *replies(request, **fields))
    assert steps == [Step.CONNECT, Step.SUBSCRIBE] * 3


def test_a_saved_session_that_is_unknown_shakes_hands_anew():
    session = new()
    session.resume(Resume(client_id="old", connection_type="long-polling", ack=41))
    request = session.next_request()
    unknown = replies(request, successful=False, error="402::Unknown client")
    assert answer(session, request, *unknown).verdict is Verdict.EXPIRED
    grant(session)
    assert (session.client_id, session.acked) == ("c1", None)


def test_what_is_saved_is_the_number_that_will_be_durable():
    session = connected(**ACK)
    received = connect(session, event(1), ext={"ack": 8})
    assert session.snapshot(received.ack) == Resume(client_id="c1", connection_type="long-polling", ack=8)
    assert session.snapshot(None) == Resume(client_id="c1", connection_type="long-polling", ack=1)
    assert new().snapshot(None) is None


def test_without_acknowledgements_no_number_is_saved():
    session = connected()
    session.confirm(3)
    assert session.snapshot(3) == Resume(client_id="c1", connection_type="long-polling", ack=None)


def test_a_keep_alive_asks_for_an_answer_at_once_and_acknowledges_nothing_new():
    session = connected(**ACK)
    connect(session, event(1), ext={"ack": 5})
    (message,) = session.keep_alive().payload
    assert (message["ext"], message["advice"]) == ({"ack": 1}, {"timeout": 0})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["none", "handshake", "402::x", "1", "2", "3"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["ack", "enabled", "batch", "interval", "reconnect", "timeout"]), inner)
    ),
    max_leaves=5,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"channel": st.sampled_from([TOPIC, "/meta/connect", "/meta/handshake", "/meta/subscribe", ""])},
        optional=dict.fromkeys(["id", "successful", "clientId", "advice", "ext", "error", "data"], JUNK),
    ),
    max_size=3,
)


@given(st.lists(MESSAGES, max_size=8))
def test_whatever_comes_there_is_a_next_request(script: list[list[dict[str, Any]]]):
    session = new()
    for messages in script:
        request = session.next_request()
        received = answer(session, request, *messages)
        json.dumps(session.next_request().payload)
        assert (session.client_id is None) == (session.phase is Phase.UNCONNECTED)
        assert len(received.events) <= sum("data" in message for message in messages)


# --- topics of which the server refuses some --------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["id", "subscription", "neither"])
def test_a_topic_that_is_refused_leaves_the_others(names: str):
    """Whatever tells which of them a reply is about."""
    session = Session(topics=[TOPIC, "/emails", "/calls"], connection_type="long-polling")
    grant(session)
    request = session.next_request()
    said = [
        {"channel": "/meta/subscribe", "id": one["id"], "subscription": one["subscription"], "successful": True}
        for one in request.payload
    ]
    said[1] |= {"successful": False, "error": "403::Subscribe denied"}
    if names != "id":
        said = [{key: value for key, value in one.items() if key != "id"} for one in said]
    if names == "neither":
        said = [{key: value for key, value in one.items() if key != "subscription"} for one in said]
    received = answer(session, request, *said)
    assert (received.verdict, received.error) == (Verdict.GRANTED, None)
    assert session.refused_topics == {"/emails": "403::Subscribe denied"}
    assert session.next_request().step is Step.CONNECT
    again = session.subscribe_again()
    assert answer(session, again, *replies(again)).verdict is Verdict.GRANTED
    assert session.refused_topics == {}


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        ("403::Subscribe denied", Verdict.UNAUTHORIZED),
        ("500::busy", Verdict.REFUSED),
        ("402::Unknown", Verdict.EXPIRED),
    ],
)
def test_where_all_topics_are_refused_nothing_is_granted(error: str, verdict: Verdict):
    session = Session(topics=[TOPIC, "/emails"], connection_type="long-polling")
    grant(session)
    request = session.next_request()
    assert answer(session, request, *replies(request, successful=False, error=error)).verdict is verdict


def test_a_session_that_one_reply_does_not_know_is_over_whatever_the_others_say():
    session = Session(topics=[TOPIC, "/emails"], connection_type="long-polling")
    grant(session)
    request = session.next_request()
    first, second = replies(request)
    unknown = second | {"successful": False, "error": "402::Unknown client"}
    assert answer(session, request, first, unknown).verdict is Verdict.EXPIRED
