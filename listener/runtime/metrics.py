"""Every metric of the process, in one table.

All names start with `disposition_listener_`. Labels are bounded: reasons and changes are fixed words of the code, sinks
and replicas are those of the configuration; no label carries a chat, an agent or a customer.
"""

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate, chain
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from listener import __version__

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
    Row(Counter, "monitor_requests_total", "Requests of supervisors to hear an agent, by result.", ("result",)),
    Row(Gauge, "agents_wanted", "Agents whom the supervisors are to monitor."),
    Row(Gauge, "agents_monitored", "Agents of them whom the server lets the supervisors hear."),
    Row(Counter, "reconciled_total", "Dispositions found by re-reading the chats."),
    Row(Counter, "reconciliations_total", "Comparisons of the chats with what was heard, by result.", ("result",)),
    Row(
        Counter,
        "unreported_changes_total",
        "Dispositions, and ends of chats, found so that a session believed alive had not brought.",
    ),
    Row(
        Counter,
        "accounts_begun_total",
        "Accounts that begin to be heard here, by how their session had ended: in order, cut off, or never.",
        ("ended",),
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
    Row(
        Counter,
        "fenced_total",
        "Times that other replicas took this one for gone; it confirms nothing, and joins anew.",
    ),
    Row(Gauge, "replica_up", "1 while nobody else can have the duties of this replica.", ("replica",)),
    Row(Gauge, "replica_beat_age_seconds", "For how long the database has not answered its beats.", ("replica",)),
    Row(Gauge, "replica_others", "Other replicas that are alive and not draining, as last told.", ("replica",)),
    Row(Gauge, "replica_draining", "1 while an operator wants it to have nothing.", ("replica",)),
    Row(Gauge, "replica_duties", "Accounts, sinks and housekeeping that it has, by kind.", ("replica", "kind")),
    Row(
        Gauge,
        "replica_duties_offered",
        "Those that there are by its configuration; with none left over, all replicas together have as many.",
        ("replica", "kind"),
    ),
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
    Row(Counter, "sink_resent_total", "Events that were delivered again at a person's command.", ("sink",)),
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


_ROWS = {row.name: row for row in TABLE}
_FAMILIES: dict[type[MetricWrapperBase], Any] = {
    Counter: CounterMetricFamily,
    Gauge: GaugeMetricFamily,
    Histogram: HistogramMetricFamily,
}
_Key = tuple[str, tuple[str, ...]]


class _Durations:
    """How many seconds fell between each two bounds, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0.0] * (len(bounds) + 1)
        self.sum = 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound with the count of what is up to it."""
        return list(zip([*map(str, self.bounds), "+Inf"], accumulate(self.counts), strict=True))


class Metrics:
    """The table as live metrics on a registry of their own; rows are named without the prefix.

    A poll counts and measures a dozen times, and the library's own counters take half a microsecond each. So numbers
    are kept as numbers, on the event loop, and become the library's when somebody looks.
    """

    def __init__(self) -> None:
        self._counts: dict[_Key, float] = {}
        self._gauges: dict[_Key, float] = {}
        self._durations: dict[_Key, _Durations] = {}
        self._samplers: list[Callable[[], None]] = []
        for row in TABLE:
            if not row.labels:
                self._expect(row, ())
        self.set("build_info", 1, __version__, platform.python_version())
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def _expect(self, row: Row, labels: tuple[str, ...]) -> None:
        if row.kind is Histogram:
            self._durations.setdefault((row.name, labels), _Durations(row.buckets))
        else:
            (self._counts if row.kind is Counter else self._gauges).setdefault((row.name, labels), 0.0)

    def _begin(self, kind: type[MetricWrapperBase], name: str, labels: tuple[str, ...]) -> _Key:
        """Show a metric from now on; returns where its number is kept.

        Raises what a bug of the caller is: KeyError, TypeError (the metric is of another kind), ValueError (labels).
        """
        row = _ROWS[name]
        if row.kind is not kind:
            raise TypeError(f"{name} is no {kind.__name__}")
        if len(labels) != len(row.labels):
            raise ValueError(f"{name} has the labels {row.labels}")
        key = name, tuple(map(str, labels))  # the hash of a member of a StrEnum is not that of its text
        self._expect(row, key[1])
        return key

    def count(self, name: str, amount: float = 1, *labels: str) -> None:
        """Add to a counter; label values in the order of the table."""
        try:
            self._counts[name, labels] += amount
        except KeyError:
            self._counts[self._begin(Counter, name, labels)] += amount

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""
        key = name, labels
        self._gauges[key if key in self._gauges else self._begin(Gauge, name, labels)] = value

    def add(self, name: str, amount: float, *labels: str) -> None:
        """Move a gauge."""
        self._gauges[self._begin(Gauge, name, labels)] += amount

    def expect_sink(self, sink: str) -> None:
        """Show what is counted by sink alone as 0 from the start: an alert on a rise needs a value to rise from."""
        for row in TABLE:
            if row.labels == ("sink",):
                self._expect(row, (sink,))

    def sample(self, sampler: Callable[[], None]) -> None:
        """Call this whenever somebody looks, to set gauges that nobody needs before; it must not raise or block."""
        self._samplers.append(sampler)

    def _sample(self) -> None:
        for sampler in self._samplers:
            sampler()

    def forget(self, name: str, *labels: str) -> None:
        """Show a gauge no longer for these labels: what it told of is gone."""
        self._gauges.pop((name, labels), None)

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Add a duration to a histogram."""
        durations = self._durations.get((name, labels)) or self._durations[self._begin(Histogram, name, labels)]
        durations.counts[bisect_left(durations.bounds, seconds)] += 1
        durations.sum += seconds

    def value(self, name: str, *labels: str) -> float:
        """The value of one counter or gauge now; 0.0 if nothing was counted. Sums nothing."""
        self._sample()
        row = _ROWS[name]
        names = dict(zip(row.labels, labels, strict=True))
        return self.registry.get_sample_value(PREFIX + name, names) or 0.0

    def collect(self) -> Iterable[Metric]:
        """Everything as the library has it, in the order of the table."""
        families = {row.name: _FAMILIES[row.kind](PREFIX + row.name, row.help, labels=row.labels) for row in TABLE}
        for (name, labels), value in chain(self._counts.items(), self._gauges.items()):
            families[name].add_metric(labels, value)
        for (name, labels), durations in self._durations.items():
            families[name].add_metric(labels, durations.buckets(), durations.sum)
        return families.values()

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        self._sample()
        return generate_latest(self.registry)
