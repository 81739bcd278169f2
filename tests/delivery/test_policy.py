"""What a sink gets, and how long its lane insists; the lane at work by a policy is in test_lane.py."""

import json

import pytest
from msgspec.structs import replace

from listener.delivery import LanePolicy
from listener.model.event import Change, Event, Kind
from listener.testing import sample_event


@pytest.mark.parametrize("change", Change)
def test_by_default_a_sink_gets_everything_and_nothing_is_given_up(change: Change):
    policy = LanePolicy()
    assert policy.wants(sample_event(1, change=change))
    assert policy.wants(replace(sample_event(1), kind=Kind.GAP, change=None))
    assert policy.retry_horizon_s is None


@pytest.mark.parametrize(
    ("horizon_s", "text"),
    [(75 * 3600, "not taken within 75 h"), (5400, "not taken within 1.5 h"), (1.8, "not taken within 0.0005 h")],
)
def test_the_reason_for_giving_up_names_the_horizon_as_it_is_configured(horizon_s: float, text: str):
    assert LanePolicy(retry_horizon_s=horizon_s).given_up == text


def with_data(**fields) -> Event:
    event = sample_event(1)
    return replace(event, data=json.dumps({**json.loads(event.data), **fields}).encode())


GAP = replace(sample_event(1, account="agent2"), kind=Kind.GAP, change=None)


@pytest.mark.parametrize(
    ("policy", "wanted", "unwanted"),
    [
        (LanePolicy(accounts=frozenset({"agent1"})), [sample_event(1)], [sample_event(1, account="agent2"), GAP]),
        (LanePolicy(gaps=False), [sample_event(1)], [GAP]),
        (
            LanePolicy(media=frozenset({"chat"})),
            [sample_event(1), GAP, replace(GAP, data=b'{"mediaType":"chat"}')],
            [sample_event(1, chat="email:1"), replace(GAP, data=b'{"mediaType":"email"}')],
        ),
        (
            LanePolicy(media=frozenset({"email"})),
            [sample_event(1, chat="email:1"), replace(GAP, data=b"{}")],
            [sample_event(1)],
        ),
        (LanePolicy(changes_only=True), [sample_event(1), GAP], [sample_event(1, change=Change.UNCHANGED)]),
        (LanePolicy(), [sample_event(1, change=Change.UNCHANGED), GAP], []),
        (
            LanePolicy(changes=frozenset({"set", "cleared"})),
            [sample_event(1), sample_event(1, change=Change.CLEARED), GAP],
            [sample_event(1, change=Change.CHANGED)],
        ),
        (LanePolicy(keys=frozenset({"DispositionCode"})), [sample_event(1), GAP], [with_data(key="Reason")]),
        (
            LanePolicy(dispositions=("Call*", "x")),
            [with_data(disposition="Callback"), with_data(disposition=None, previous="Callback"), GAP],
            [with_data(disposition="callback"), with_data(disposition="recall"), with_data(disposition=None)],
        ),
        (LanePolicy(dispositions=("",)), [with_data(disposition=None)], [with_data(disposition="a", previous="b")]),
        (
            LanePolicy(keys=frozenset({"Reason"}), dispositions=("x",)),
            [with_data(key="Reason", disposition="x")],
            [with_data(disposition="x"), with_data(key="Reason", disposition="y")],
        ),
    ],
)
def test_filters_leave_out_what_they_do_not_name(policy: LanePolicy, wanted: list[Event], unwanted: list[Event]):
    assert all(map(policy.wants, wanted))
    assert not any(map(policy.wants, unwanted))
    assert policy.wanted([*unwanted, *wanted]) == wanted


def test_only_allowed_fields_of_a_disposition_leave_and_gaps_are_whole():
    policy = LanePolicy(fields=frozenset({"disposition", "chatId", "reason"}))
    shaped, gap = policy.shape([sample_event(1), GAP])
    assert list(json.loads(shaped.data).items()) == [("disposition", "IssueResolved"), ("chatId", "0000Na9B26EF003M")]
    assert gap is GAP


def test_a_batch_that_may_leave_whole_costs_nothing():
    batch = [sample_event(1), GAP]
    assert LanePolicy().shape(batch) is batch
