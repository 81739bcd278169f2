"""Every metric of the process, in one table.

All names start with `disposition_listener_`. Labels are bounded: reasons and changes are fixed words of the code, sinks
are those of the configuration; no label carries a chat, an agent or a customer.
"""

import platform
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from listener import __version__

Kind = TypeVar("Kind", bound=MetricWrapperBase)

PREFIX = "disposition_listener_"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LONG = (*_SECONDS, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)  # a sink may be away for a night


class Row(NamedTuple):
    """One metric: its class, its name without the prefix, what it tells, its labels, a histogram's upper bounds."""

    kind: type[MetricWrapperBase]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = _SECONDS


TABLE = (
    Row(Counter, "notifications_received_total", "Messages heard on the topic; equals forwarded + filtered + refused."),
    Row(Counter, "notifications_forwarded_total", "Notifications that became at least one event."),
    Row(Counter, "notifications_filtered_total", "Notifications that are none of ours, by reason.", ("reason",)),
    Row(Counter, "notifications_refused_total", "Notifications that cannot be used, by reason.", ("reason",)),
    Row(Counter, "fields_malformed_total", "Accompanying fields of a wrong type, forwarded as null.", ("field",)),
    Row(Counter, "events_total", "Events written to the journal.", ("kind", "change", "origin")),
    Row(Counter, "batches_total", "Batches that brought at least one message on the topic."),
    Row(Counter, "batches_repeated_total", "Batches that the server sent again and that were already durable."),
    Row(Counter, "handshakes_total", "CometD handshakes granted."),
    Row(Counter, "resumes_total", "CometD sessions of an earlier process that were continued."),
    Row(Counter, "exchanges_failed_total", "CometD requests without a usable answer, by reason.", ("reason",)),
    Row(Counter, "logins_total", "Logins to the Web Services, by result.", ("result",)),
    Row(Counter, "gaps_total", "Stretches in which a disposition could have been missed, by reason.", ("reason",)),
    Row(Counter, "gap_seconds_total", "Length of those stretches, in seconds."),
    Row(Counter, "reconciled_total", "Dispositions found by re-reading the chats."),
    Row(Counter, "reconciliations_total", "Comparisons of the chats with what was heard, by result.", ("result",)),
    Row(
        Counter,
        "unreported_changes_total",
        "Dispositions, and ends of chats, found so that a session believed alive had not brought.",
    ),
    Row(Gauge, "sessions_subscribed", "Accounts whose session is subscribed now."),
    Row(Gauge, "sessions_configured", "Accounts in the configuration."),
    Row(Gauge, "session_youngest_age_seconds", "For how long the session stands that was subscribed last; 0 without."),
    Row(Gauge, "session_oldest_age_seconds", "For how long the session stands that was subscribed first; 0 without."),
    Row(Gauge, "session_epoch", "How many sessions this process has had for an account, for the one with the most."),
    Row(Histogram, "journal_commit_seconds", "Time from a batch's arrival at the journal to its commit."),
    Row(Histogram, "journal_fsync_seconds", "Time of one COMMIT, nearly all of which is its fsync."),
    Row(Counter, "journal_commit_failures_total", "Commits that failed; their batches are tried again."),
    Row(Counter, "journal_rescues_total", "Times that its files were taken away, and it was written anew."),
    Row(Gauge, "journal_last_sequence", "Sequence of the newest durable event."),
    Row(Gauge, "journal_bytes", "Size of the journal's files."),
    Row(Gauge, "journal_wal_bytes", "Size of its write-ahead log, which a reader that never ends lets grow."),
    Row(Gauge, "journal_depth_events", "Events in the journal that at least one sink has not got yet."),
    Row(Gauge, "journal_oldest_age_seconds", "Age of the oldest of them, since its arrival; 0 without."),
    Row(Counter, "sink_delivered_total", "Events durable at the sink.", ("sink",)),
    Row(Counter, "sink_skipped_total", "Events that the sink's settings leave out.", ("sink",)),
    Row(Counter, "sink_attempts_total", "Batches handed to the sink.", ("sink",)),
    Row(Counter, "sink_failures_total", "Batches that the sink did not take whole, by outcome.", ("sink", "outcome")),
    Row(Counter, "sink_dead_letters_total", "Events that the sink can never take.", ("sink",)),
    Row(Counter, "sink_replayed_total", "Dead letters that were delivered after all.", ("sink",)),
    Row(Counter, "sink_quarantined_total", "Lines of its file that the journal never delivered.", ("sink",)),
    Row(Gauge, "sink_lag_events", "Events in the journal that the sink has not got yet.", ("sink",)),
    Row(Gauge, "sink_lag_seconds", "Age of the oldest of them, since its arrival; 0 without.", ("sink",)),
    Row(Gauge, "sink_parked", "1 while the lane waits for a person.", ("sink",)),
    Row(
        Histogram,
        "sink_latency_seconds",
        "Time from the arrival of an event here to the sink's ack, for the oldest event of each batch.",
        ("sink",),
        _LONG,
    ),
    Row(
        Histogram,
        "end_to_end_latency_seconds",
        "Time from the server's stamp of an event (of its arrival, without one) to the sink's ack, for the oldest event"
        " of each batch.",
        ("sink",),
        _LONG,
    ),
    Row(Counter, "http_requests_total", "Requests to this process that were answered, by status.", ("status",)),
    Row(Counter, "http_refused_total", "Requests and connections to this process that were refused.", ("reason",)),
    Row(Gauge, "http_streams", "Streams of events that are open now."),
    Row(Counter, "config_reloads_total", "Times that the configuration was read again, by result.", ("result",)),
    Row(Gauge, "config_last_reload_success", "1 while the configuration read last is the one in force."),
    Row(Gauge, "build_info", "Always 1; the labels tell what runs.", ("version", "python")),
)


class Metrics:
    """The table as live metrics on a registry of their own; rows are named without the prefix."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._rows: dict[str, MetricWrapperBase] = {}
        self._children: dict[tuple[str, tuple[str, ...]], MetricWrapperBase] = {}
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each counter, which nobody asks for
        for row in TABLE:
            options: dict[str, Any] = {"buckets": row.buckets} if row.kind is Histogram else {}
            self._rows[row.name] = row.kind(PREFIX + row.name, row.help, row.labels, registry=self.registry, **options)
        self._samplers: list[Callable[[], None]] = []
        self.set("build_info", 1, __version__, platform.python_version())

    def _child(self, kind: type[Kind], name: str, labels: tuple[str, ...]) -> Kind:
        """Raises TypeError: the metric is of another kind, which is a bug of the caller."""
        child = self._children.get((name, labels))
        if child is None:
            row = self._rows[name]
            child = self._children[name, labels] = row.labels(*labels) if labels else row
        if not isinstance(child, kind):
            raise TypeError(f"{name} is no {kind.__name__}")
        return child

    def count(self, name: str, amount: float = 1, *labels: str) -> None:
        """Add to a counter; label values in the order of the table."""
        self._child(Counter, name, labels).inc(amount)

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._child(Gauge, name, labels).set(value)

    def add(self, name: str, amount: float, *labels: str) -> None:
        """Move a gauge."""
        self._child(Gauge, name, labels).inc(amount)

    def expect_sink(self, sink: str) -> None:
        """Show what is counted by sink alone as 0 from the start: an alert on a rise needs a value to rise from."""
        for row in TABLE:
            if row.labels == ("sink",):
                self._child(row.kind, row.name, (sink,))

    def sample(self, sampler: Callable[[], None]) -> None:
        """Call this whenever somebody looks, to set gauges that nobody needs before; it must not raise or block."""
        self._samplers.append(sampler)

    def _sample(self) -> None:
        for sampler in self._samplers:
            sampler()

    def forget(self, name: str, *labels: str) -> None:
        """Show a gauge no longer for these labels: what it told of is gone."""
        if self._children.pop((name, labels), None) is not None:
            self._rows[name].remove(*labels)

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Add a duration to a histogram."""
        self._child(Histogram, name, labels).observe(seconds)

    def value(self, name: str, *labels: str) -> float:
        """The value of one counter or gauge now; 0.0 if nothing was counted. Sums nothing."""
        self._sample()
        names = dict(zip(next(row.labels for row in TABLE if row.name == name), labels, strict=True))
        return self.registry.get_sample_value(PREFIX + name, names) or 0.0

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        self._sample()
        return generate_latest(self.registry)
