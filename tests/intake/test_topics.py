"""Topics of which a server refuses some: what is not heard since when, over restarts too."""

from typing import Any

import pytest

from listener.cometd.facts import TopicsAnswered
from listener.intake.topics import HeardAgain, Identity, Topics
from listener.model.event import SessionState
from listener.runtime.clock import Moment

CHATS, EMAILS, CALLS = "/v2/me/chats", "/v2/me/emails", "/v2/me/calls"
MEDIA: Any = {"chat": CHATS, "email": EMAILS, "voice": CALLS}


def at(seconds: float) -> Moment:
    return Moment(1_800_000_000_000 + round(seconds * 1000), seconds)


def answer(seconds: float, *refused: str, is_new: bool = False) -> TopicsAnswered:
    said = dict.fromkeys(refused, "403::Subscribe denied")
    return TopicsAnswered(at=at(seconds + 0.1), asked_at=at(seconds), refused=said, is_new=is_new)


def saved(topic: str) -> SessionState:
    return SessionState(
        account="agent1",
        url="u",
        topic=topic,
        client_id="c",
        connection_type="long-polling",
        ack=None,
        seen_ms=at(50).wall_ms,
    )


def test_where_all_is_granted_the_text_is_the_topics():
    topics = Topics(MEDIA)
    assert topics.answered(answer(1, is_new=True)) == []
    assert (topics.text, topics.unheard, topics.trouble) == (f"{CHATS},{EMAILS},{CALLS}", (), None)


def test_what_a_new_session_lacks_is_not_heard_since_it_was_asked_for():
    topics = Topics(MEDIA)
    assert topics.answered(answer(1, EMAILS, is_new=True)) == []
    assert topics.unheard == ("email",)
    assert topics.text == f"{CHATS},{EMAILS} since {at(1).wall_ms},{CALLS}"
    assert topics.trouble == f"email is not heard, {EMAILS} was refused: 403::Subscribe denied"
    assert topics.answered(answer(2, EMAILS)) == []
    assert topics.answered(answer(3)) == [HeardAgain("email", at(1))]
    assert (topics.unheard, topics.trouble) == ((), None)


def test_what_a_living_session_loses_is_not_heard_since_it_was_granted_last():
    topics = Topics(MEDIA)
    for seconds in (1, 2):
        topics.answered(answer(seconds))
    topics.answered(answer(3, CALLS, EMAILS))
    assert topics.unheard == ("email", "voice")
    assert topics.answered(answer(4, CALLS)) == [HeardAgain("email", at(2))]
    assert topics.answered(answer(5)) == [HeardAgain("voice", at(2))]


def test_the_next_process_knows_since_when():
    before = Topics(MEDIA)
    before.answered(answer(1, EMAILS, is_new=True))
    after = Topics(MEDIA, saved(before.text), at(50))
    assert (after.unheard, after.text) == (("email",), before.text)
    assert after.answered(answer(60)) == [HeardAgain("email", Moment(at(1).wall_ms, None))]


def test_what_a_process_before_had_may_be_lost_since_it_was_certain_last():
    after = Topics(MEDIA, saved(f"{CHATS},{EMAILS}"), at(50), doubt_s=30)
    after.answered(answer(60, EMAILS, CALLS))
    (email, voice) = after.answered(answer(70))
    assert email == HeardAgain("email", at(20))
    assert voice == HeardAgain("voice", at(60)), "it was not asked for before"


@pytest.mark.parametrize(
    ("topic", "fits"),
    [
        (CHATS, True),
        (f"{CHATS},{EMAILS}", True),
        (f"{CHATS},{EMAILS} since 1800000000000", True),
        (f"{CHATS},{CALLS}", False),
        ("/v2/me/*", False),
    ],
)
def test_a_stored_session_may_get_more_topics_and_none_less(topic, fits):
    identity = Identity(account="agent1", url="u", topics={"chat": CHATS, "email": EMAILS})
    assert identity.fits(saved(topic)) is fits
    assert not Identity(account="agent1", url="other", topics=identity.topics).fits(saved(topic))
