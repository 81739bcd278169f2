"""What a status means, and what of an answer may be repeated."""

import pytest

from listener.errors import Park, Reject, Retry
from listener.sinks.webhook.failure import Failure, quoted


def test_what_is_gone_is_disabled_and_says_so():
    outcome = Failure(text="h:1 answered 410", status=410).outcome()
    assert isinstance(outcome, Park)
    assert outcome.disabled
    assert outcome.reason == "h:1 answered 410: it is gone, so the sink is disabled"
    assert not Failure(text="h:1 answered 401", status=401).outcome().disabled


@pytest.mark.parametrize(
    ("failure", "kind", "affects_all"),
    [
        (Failure(text=""), Retry, True),
        (Failure(text="", status=500), Retry, False),
        (Failure(text="", status=500, after_s=1.0), Retry, True),
        (Failure(text="", status=405), Retry, True),
        (Failure(text="", status=302), Park, True),
        (Failure(text="", status=415), Park, True),
        (Failure(text="", status=400), Reject, False),
        (Failure(text="", status=400, verdict=Park), Park, True),
    ],
)
def test_a_failure_means_something_for_its_event_and_for_the_others(failure, kind, affects_all):
    assert (failure.kind, failure.affects_all) == (kind, affects_all)


def test_an_answer_is_quoted_on_one_short_line_without_secrets():
    text = f"a\r\n\x1b[1mb Basic abcdef abc {'x' * 2000}"
    assert quoted(text, ["Basic abcdef", "abc", ""]).startswith("a [1mb *** *** xxx")
    assert len(quoted(text, [])) == 1000
