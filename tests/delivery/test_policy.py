"""What a sink gets, and how long its lane insists; the lane at work by a policy is in test_lane.py."""

import pytest
from msgspec.structs import replace

from listener.delivery import LanePolicy
from listener.model import Change, Kind
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
