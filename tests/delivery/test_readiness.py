"""The readiness of a lane, of which a stranger learns no word of a server."""

import pytest
from msgspec.structs import replace

from listener.delivery import delivery_problem, readiness_problem
from listener.model.event import LaneStatus

FINE = LaneStatus(
    sink="crm", kind="webhook", cursor=3, lag=0, delivered=3, failures=0, parked=None, last_error=None, stalled_s=0.0
)


@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        (FINE, None),
        (replace(FINE, last_error="busy", stalled_s=300.0, lag=1), None),
        (replace(FINE, last_error="busy", stalled_s=312.4, lag=1), "sink crm has taken nothing for 312 s: busy"),
        (replace(FINE, stalled_s=1000.0, lag=1), "sink crm has taken nothing for 1000 s: no answer"),
        (replace(FINE, parked="401", stalled_s=1000.0, lag=1), "sink crm is parked: 401"),
        (replace(FINE, last_error="429", quiet_s=290.0, stalled_s=10.0, lag=1), None),
        (
            replace(FINE, last_error="429", quiet_s=290.0, stalled_s=11.0, lag=1),
            "sink crm is to be left alone for 290 s more: 429",
        ),
        (
            replace(FINE, last_error="429", quiet_s=86_400.0, lag=1),
            "sink crm is to be left alone for 86400 s more: 429",
        ),
    ],
)
def test_a_lane_is_in_trouble_while_it_is_parked_or_takes_nothing_for_too_long(status: LaneStatus, trouble: str | None):
    found = readiness_problem(status)
    assert (found and found.full) == trouble
    assert found is None or found.full.startswith(f"{found.brief}: "), "the words of a server are left out of `brief`"


@pytest.mark.parametrize(
    ("status", "trouble", "helps"),
    [
        (FINE, None, ""),
        (replace(FINE, stalled_s=1.0, lag=1), None, ""),
        (replace(FINE, last_error="busy", stalled_s=1.0, failing_s=0.0, lag=1), "is failing: busy", "test"),
        (
            replace(FINE, last_error="429", quiet_s=9.0, failing_s=0.0),
            "is to be left alone for 9 s more: 429",
            "resume",
        ),
        (
            replace(FINE, last_error="busy", stalled_s=312.4, failing_s=9.0, lag=1),
            "has taken nothing for 312 s: busy",
            "test",
        ),
    ],
)
def test_who_asks_what_is_well_is_told_from_the_first_failure_on(status: LaneStatus, trouble: str | None, helps: str):
    found = delivery_problem(status)
    assert (found and found.full) == (trouble and f"sink crm {trouble}")
    assert found is None or found.help == f"disposition-listener sinks {helps} crm"
