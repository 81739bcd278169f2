"""The table is what Prometheus sees, and a wrong use of it does not go unnoticed."""

import platform
import re

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from listener import __version__
from listener.runtime.metrics import PREFIX, TABLE, Metrics, Row


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def by_name(row: Row) -> str:
    return row.name


@pytest.mark.parametrize("row", TABLE, ids=by_name)
def test_every_row_is_exposed_with_its_help_and_type(metrics: Metrics, row: Row):
    values = ["word"] * len(row.labels)
    if row.name != "build_info":
        use = {Counter: metrics.count, Gauge: metrics.set, Histogram: metrics.observe}[row.kind]
        use(row.name, 1.0, *values)
    families = {family.name: family for family in text_string_to_metric_families(metrics.exposition().decode())}
    family = families[PREFIX + row.name.removesuffix("_total")]
    assert (family.documentation, family.type) == (row.help, row.kind.__name__.lower())
    assert family.samples


def test_names_are_unique_and_carry_their_unit():
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names)
    for row in TABLE:
        assert re.fullmatch("[a-z]+(_[a-z]+)*", row.name)
        assert row.name.endswith("_total") == (row.kind is Counter), row.name
        assert row.kind is not Histogram or row.name.endswith("_seconds"), row.name


def test_no_label_can_carry_a_chat_an_agent_or_a_customer():
    bounded = {"reason", "field", "kind", "change", "origin", "result", "sink", "outcome", "version"}
    bounded |= {"python", "status", "ended", "replica"}
    assert {label for row in TABLE for label in row.labels} <= bounded


def test_a_counter_adds_up_by_label(metrics: Metrics):
    metrics.count("sink_delivered_total", 2, "audit")
    metrics.count("sink_delivered_total", 3, "audit")
    metrics.count("sink_delivered_total", 1, "crm")
    assert metrics.value("sink_delivered_total", "audit") == 5
    assert metrics.value("sink_delivered_total", "crm") == 1
    assert metrics.value("sink_delivered_total", "other") == 0


def test_labels_are_given_in_the_order_of_the_table(metrics: Metrics):
    metrics.count("events_total", 1, "disposition", "set", "notification")
    line = 'disposition_listener_events_total{change="set",kind="disposition",origin="notification"} 1.0'
    assert line in metrics.exposition().decode()


def test_a_gauge_holds_the_last_value(metrics: Metrics):
    metrics.set("sessions_subscribed", 3)
    metrics.set("sessions_subscribed", 2)
    assert metrics.value("sessions_subscribed") == 2


def test_a_gauge_of_what_is_gone_is_shown_no_longer_and_may_come_back(metrics: Metrics):
    metrics.set("sink_lag_events", 7, "crm")
    metrics.forget("sink_lag_events", "crm")
    metrics.forget("sink_lag_events", "crm")
    assert b'sink_lag_events{sink="crm"}' not in metrics.exposition()
    metrics.set("sink_lag_events", 2, "crm")
    assert b'sink_lag_events{sink="crm"} 2.0' in metrics.exposition()


def test_a_gauge_can_be_set_just_when_somebody_looks(metrics: Metrics):
    sizes = [1.0]
    metrics.sample(lambda: metrics.set("journal_bytes", sizes[-1]))
    assert metrics.value("journal_bytes") == 1
    sizes.append(2.0)
    assert b"disposition_listener_journal_bytes 2.0\n" in metrics.exposition()


def test_a_sink_is_counted_from_0_on(metrics: Metrics):
    metrics.expect_sink("crm")
    text = metrics.exposition().decode()
    for row in TABLE:
        if row.labels == ("sink",):
            assert re.search(rf'^{PREFIX}{row.name}(_count)?{{sink="crm"}} 0.0$', text, re.MULTILINE), row.name


def test_a_histogram_sorts_seconds_into_buckets(metrics: Metrics):
    metrics.observe("journal_commit_seconds", 0.003)
    text = metrics.exposition().decode()
    assert 'disposition_listener_journal_commit_seconds_bucket{le="0.0025"} 0.0' in text
    assert 'disposition_listener_journal_commit_seconds_bucket{le="0.005"} 1.0' in text


def test_the_version_is_a_label_from_the_start(metrics: Metrics):
    assert metrics.value("build_info", __version__, platform.python_version()) == 1


def test_two_processes_parts_in_one_interpreter_count_apart(metrics: Metrics):
    metrics.count("handshakes_total")
    assert Metrics().value("handshakes_total") == 0


def test_an_unknown_name_is_loud(metrics: Metrics):
    with pytest.raises(KeyError):
        metrics.count("handshake_total")


def test_the_wrong_kind_of_use_is_loud(metrics: Metrics):
    with pytest.raises(TypeError):
        metrics.set("handshakes_total", 1)
    with pytest.raises(TypeError):
        metrics.count("sessions_subscribed")
    with pytest.raises(TypeError):
        metrics.observe("handshakes_total", 1)


def test_a_missing_label_is_loud(metrics: Metrics):
    with pytest.raises((ValueError, AttributeError, AssertionError)):
        metrics.count("events_total", 1, "disposition")
    with pytest.raises(ValueError, match="shorter"):
        metrics.value("events_total", "disposition")
