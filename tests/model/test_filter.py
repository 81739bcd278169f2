"""What is looked for fits the events that it should, and no others."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.model.event import Change, Event, Participant
from listener.model.filter import EVERY_EVENT, EventFilter
from listener.testing import sample_event, sample_gap

ANNA = Participant(nickname="Anna Berg", type="Agent", participant_id="1")
CUSTOMER = Participant(nickname="Zoe", type="Client", participant_id="2")


def event(*, previous: str | None = None, participants: tuple[Participant, ...] = (ANNA, CUSTOMER), **more) -> Event:
    made = sample_event(1, **more)
    data = msgspec.json.decode(made.data) | {"previous": previous, "participants": participants}
    return msgspec.structs.replace(made, data=msgspec.json.encode(data))


GAP = sample_gap(2, account="agent1")
CLEARED = event(change=Change.CLEARED, disposition=None, previous="Resolved")
CASES = {
    "nothing asked": (EVERY_EVENT, event(), True),
    "nothing asked, of a gap": (EVERY_EVENT, GAP, True),
    "its chat": (EventFilter(chat="c-1"), event(chat="c-1"), True),
    "another chat": (EventFilter(chat="C-1"), event(chat="c-1"), False),
    "a chat is no pattern": (EventFilter(chat="c*"), event(chat="c-1"), False),
    "a gap of an account that is called like the chat": (EventFilter(chat="agent1"), GAP, False),
    "the agent": (EventFilter(agent="Anna Berg"), event(), True),
    "the agent by a pattern": (EventFilter(agent="anna*"), event(), True),
    "the account": (EventFilter(agent="AGENT1"), event(), True),
    "the account of a gap": (EventFilter(agent="agent?"), GAP, True),
    "a customer is no agent": (EventFilter(agent="Zoe"), event(), False),
    "a part of the name": (EventFilter(agent="Anna"), event(), False),
    "no participant at all": (EventFilter(agent="Anna*"), event(participants=()), False),
    "one without a name": (EventFilter(agent="x"), event(participants=(Participant(type="Agent"),)), False),
    "the value": (EventFilter(disposition="issueresolved"), event(), True),
    "the value before": (EventFilter(disposition="Open*"), event(previous="OpenAgain"), True),
    "what was cleared": (EventFilter(disposition="Resolved"), CLEARED, True),
    "no value is an empty one": (EventFilter(disposition=""), event(), True),
    "no value on either side": (EventFilter(disposition=""), event(previous="x"), False),
    "another value": (EventFilter(disposition="Open*"), event(previous="Reopen"), False),
    "a gap has no value": (EventFilter(disposition="*"), GAP, False),
    "its key": (EventFilter(key="DispositionCode"), event(), True),
    "a key to the letter": (EventFilter(key="dispositioncode"), event(), False),
    "its change": (EventFilter(change=Change.SET), event(), True),
    "another change": (EventFilter(change=Change.CLEARED), event(), False),
    "a gap has no change": (EventFilter(change=Change.SET), GAP, False),
    "all of them": (EventFilter(agent="anna*", disposition="iss*", key="DispositionCode"), event(), True),
    "all but one": (EventFilter(agent="anna*", disposition="xx*", key="DispositionCode"), event(), False),
}


@pytest.mark.parametrize(("which", "one", "expected"), CASES.values(), ids=CASES)
def test_an_event_is_meant_if_every_condition_holds_for_it(which: EventFilter, one: Event, expected: bool):
    assert which.condition()(one) is expected


@given(st.text(alphabet="[]!*?-\\^z]a(){}|.", max_size=40))
def test_no_pattern_is_an_error(pattern: str):
    EventFilter(agent=pattern, disposition=pattern).condition()(event())


def test_a_pattern_made_to_take_long_does_not():
    """80 characters are what a request may bring; the value is as long as a notification may make it."""
    slow = EventFilter(disposition="*a" * 39 + "*b").condition()
    assert slow(event(disposition="a" * 100_000)) is False
