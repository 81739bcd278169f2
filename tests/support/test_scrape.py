"""An exposition is read as the code's own table names it."""

from listener.metrics import Metrics
from support.scrape import Scrape


def test_counters_are_summed_over_the_labels_that_are_not_given():
    metrics = Metrics()
    metrics.count("events_total", 2, "disposition", "set", "notification")
    metrics.count("events_total", 3, "gap", "", "notification")
    metrics.count("notifications_received_total", 7)
    seen = Scrape(metrics.exposition().decode())
    assert seen.total("events_total") == 5
    assert seen.total("events_total", kind="gap") == 3
    assert seen.total("events_total", kind="none") == 0
    assert seen.total("notifications_received_total") == 7


def test_a_counter_is_told_apart_by_one_label():
    metrics = Metrics()
    metrics.count("notifications_refused_total", 1, "too_deep")
    metrics.count("notifications_refused_total", 2, "no_chat_id")
    metrics.count("notifications_refused_total", 0, "wrong_type")
    seen = Scrape(metrics.exposition().decode())
    assert seen.by("reason", "notifications_refused_total") == {"too_deep": 1, "no_chat_id": 2}
