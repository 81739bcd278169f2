"""The facts are values, and their words are those of the event that they end up in."""

from typing import Any

import pytest

from listener.cometd.facts import Batch, Cause, Polled, PollingEnded, SessionProblem, Subscribed
from listener.model import event as model
from listener.runtime.clock import Moment


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_a_reason_that_the_gap_event_documents(cause: Cause):
    assert f"`{cause}`" in (model.Gap.__doc__ or "")


@pytest.mark.parametrize("fact", [Batch, Subscribed, Polled, SessionProblem, PollingEnded])
def test_the_parts_of_a_fact_are_given_by_name(fact: Any):
    with pytest.raises(TypeError):
        fact(1)


def test_what_happened_does_not_change_afterwards():
    rested = PollingEnded(at=Moment(1, 0.0), resume=None)
    with pytest.raises(AttributeError):
        rested.at = Moment(2, 0.0)
