"""What an outcome makes of each event of a batch, and of the time until the next attempt."""

import math

import pytest

from listener.delivery import outcome_of
from listener.delivery.outcomes import error_text, hand_over, left_of, pause_after, refused
from listener.errors import Park, Refusal, Reject, Retry
from listener.runtime.backoff import Backoff
from listener.testing import RecordingSink, sample_event

BATCH = [sample_event(number) for number in range(4)]


def test_what_an_error_means_is_decided_in_one_place():
    park, retry, reject = Park("p"), Retry("r"), Reject(0, "x")
    assert [outcome_of(one, 1) for one in (park, retry, reject)] == [park, retry, reject]
    unexpected = outcome_of(ValueError("v"), 1)
    assert (type(unexpected), unexpected.reason) == (Retry, "the sink failed unexpectedly: ValueError: v")


async def test_a_batch_that_is_taken_has_no_outcome():
    park = Park("401")
    sink = RecordingSink([None, park])
    assert await hand_over(sink, BATCH) is None
    assert await hand_over(sink, BATCH) is park


def test_each_event_of_a_batch_is_delivered_refused_or_left():
    reject = Reject(2, "422", detail="no", rejected={0: Refusal("413", "too large")}, delivered=frozenset({1}))
    assert refused(BATCH, reject) == [(BATCH[0], Refusal("413", "too large")), (BATCH[2], Refusal("422", "no"))]
    assert left_of(BATCH, reject) == [BATCH[3]]
    retry = Retry("503", delivered=frozenset({0, 3}))
    assert (refused(BATCH, retry), left_of(BATCH, retry)) == ([], [BATCH[1], BATCH[2]])
    assert (refused(BATCH, None), left_of(BATCH, None)) == ([], [])


@pytest.mark.parametrize(
    ("outcome", "pause_s"),
    [
        (Retry("503"), 2.0),
        (Retry("503", after_s=1.0), 2.0),
        (Retry("503", after_s=86_400.0), 86_400.0),
        (Retry("503", after_s=math.inf), 2.0),
        (Retry("503", after_s=math.nan), 2.0),
        (Retry("503", after_s=-1.0), 2.0),
        (Park("401"), 0.0),
        (Reject(0, "422"), 0.0),
    ],
)
def test_the_pause_is_what_the_destination_names_in_full_and_no_less_than_the_backoff(outcome: Retry, pause_s: float):
    assert pause_after(outcome, Backoff(first_s=2.0, uniform=lambda _low, high: high)) == pause_s


def test_without_a_backoff_only_a_named_time_makes_a_pause():
    assert pause_after(Retry("503", after_s=9.0), None) == 9.0
    assert pause_after(Retry("503"), None) == 0.0


def test_the_last_words_of_a_destination_are_its_status_and_what_it_said():
    assert error_text(Retry("crm answered 500", detail="boom")) == "crm answered 500: boom"
    assert error_text(Retry("crm cannot be reached")) == "crm cannot be reached"
