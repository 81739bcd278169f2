"""Of all that happens in one call the lane is told what it must know first."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import Park, Refusal, Reject, Retry
from listener.sinks.webhook.failure import Failure
from listener.sinks.webhook.progress import Progress
from support.events import events_of

STATUSES = st.sampled_from([200, 204, 302, 400, 401, 404, 413, 422, 429, 500, 503])


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 9), STATUSES.filter(lambda status: status >= 300)), st.sets(st.integers(0, 9)))
def test_every_reject_is_told_before_a_park_and_a_park_before_a_retry(failures, delivered):
    progress = Progress(events_of(10, chats=10))
    progress.delivered |= delivered
    for index, status in failures.items():
        progress.can_continue(index, Failure(text=str(status), status=status))
    kinds = {Failure(text="", status=status).kind for status in failures.values()}
    expected = next((kind for kind in (Reject, Park, Retry) if kind in kinds), None)
    if expected is None:
        progress.raise_outcome()
        return
    with pytest.raises(expected) as caught:
        progress.raise_outcome()
    assert caught.value.delivered == delivered
    if expected is Reject:
        refused = {index: Refusal(str(status)) for index, status in failures.items() if status in (400, 413, 422)}
        assert caught.value.letters == refused
