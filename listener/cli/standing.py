"""The summary of a daemon in lines for people: a verdict, what is not well and what helps, rates, gaps, sinks."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.text import Text

from listener.cli.readable import NOTHING, RUNNING, duration, sink_state
from listener.model.condition import SinkReport
from listener.model.escaping import printable
from listener.model.event import epoch_ms
from listener.web.summary import HealthProblem, LastHour, Summary

_BARS = "▁▂▃▄▅▆▇█"
_UNKNOWN, _GAP = "·", "^"
_LABEL = 16
_MOST_NAMED = 5
_MOST_GAPS = 100  # of a summary
_IN_MS = 10_000
_HEADING = ("sink", "kind", "to go", "oldest", "dead", "state")
_RIGHT = (False, False, True, True, True, False)
_APART = "  "
_INDENT = "    "


def lines(summary: Summary, *, is_running: bool, config: Path | None = None, width: int = 80) -> Iterator[Text]:
    """All of it, one line each, not wrapped.

    Args:
        summary: what there is to tell.
        is_running: whether it comes from a daemon.
        config: the configuration that commands need to be given.
        width: how wide a line may be whose columns stand for something; all others are as long as they are.
    """
    yield verdict(summary)
    yield Text(_facts(summary), "dim")
    for problem in summary.health:
        yield Text()
        yield from _problem(problem, summary, config)
    if is_running and (summary.rates is not None or summary.open_gaps.count):
        yield Text()
        yield from _lately(summary, width)
    if summary.sinks:
        yield Text()
        yield from _sinks(summary.sinks, is_running=is_running)


def verdict(summary: Summary) -> Text:
    """The first line."""
    count = len(summary.health)
    if not count:
        return Text("all is well", "bold green")
    return Text("1 thing is not well" if count == 1 else f"{count} things are not well", "bold red")


def _facts(summary: Summary) -> str:
    accounts = summary.accounts
    facts = [summary.instance, summary.server]
    if summary.replicas:
        facts.append(_count(len(summary.replicas), "replica"))
    facts.append(f"{_count(accounts.total, 'account')}, {accounts.subscribed} subscribed")
    if summary.build is not None:
        for_ms = epoch_ms(summary.at) - epoch_ms(summary.build.started_at)
        facts += [f"running for {duration(for_ms)}", f"version {summary.build.version}"]
    return " · ".join(printable(fact) for fact in facts if fact)


def _problem(problem: HealthProblem, summary: Summary, config: Path | None) -> Iterator[Text]:
    yield Text(printable(problem.what), "red")
    ago = duration(epoch_ms(summary.at) - epoch_ms(problem.since))
    who = _named(problem, summary)
    yield Text(f"{_INDENT}since {_second(problem.since)} ({ago}){f': {who}' if who else ''}")
    if problem.help is not None:
        is_ours = problem.help.startswith("disposition-listener ")
        given = f" --config {shlex.quote(str(config))}" if is_ours and config is not None else ""
        yield Text(f"{_INDENT}{printable(problem.help + given)}", "bold")


def _named(problem: HealthProblem, summary: Summary) -> str:
    """The first accounts of a trouble that several have."""
    if problem.kind != "accounts":
        return ""
    for one in summary.troubles:
        if one.count > 1 and problem.what.startswith(f"{one.count} ") and problem.what.endswith(one.what):
            more = one.count - len(one.accounts[:_MOST_NAMED])
            named = ", ".join(one.accounts[:_MOST_NAMED]) + (f" and {more} more" if more else "")
            return printable(named)
    return ""


def _lately(summary: Summary, width: int) -> Iterator[Text]:
    hour, rates = summary.last_hour, summary.rates
    if hour is not None and rates is not None:
        known = [count for count in hour.events if count is not None]
        minutes = "last hour" if len(known) == len(hour.events) else f"last {_count(len(known), 'minute')}"
        fitting = max(1, width - _LABEL)
        yield Text(f"{minutes:<{_LABEL}}").append(sparkline(hour)[-fitting:], "cyan")
        if marks := gap_marks(hour)[-fitting:].rstrip():
            yield Text(" " * _LABEL).append(marks, "bold red")
        yield Text(
            f"{'events':<{_LABEL}}{sum(known)}, at most {max(known, default=0)} a minute;"
            f" now {rates.events_per_second:.1f} received and {rates.deliveries_per_second:.1f} delivered a second"
        )
        delays = [delay for delay in hour.delay_ms if delay is not None]
        longest = f"{_delay(max(delays))} at most from receipt to delivery" if delays else "nothing was delivered"
        yield Text(f"{'delay':<{_LABEL}}{longest}")
        seconds = sum(gap.seconds for gap in hour.gaps)
        most = "at least " if len(hour.gaps) == _MOST_GAPS else ""
        told = f"{most}{len(hour.gaps)} closed, {duration(round(seconds * 1000))} together" if hour.gaps else "0 closed"
    else:
        told = f"{summary.gaps.count} closed since the replicas run"
    running = summary.open_gaps
    still = f"{running.count} running"
    if running.oldest_at is not None:
        still += f", the oldest since {_second(running.oldest_at)}"
    yield Text(f"{'gaps':<{_LABEL}}{told}; {still}", "red" if running.count else "")


def sparkline(hour: LastHour) -> str:
    """A character a minute: the lowest bar for no event, the highest for the busiest minute, a dot where unknown."""
    most = max((count or 0 for count in hour.events), default=0) or 1
    return "".join(
        _UNKNOWN if count is None else _BARS[0] if not count else _BARS[1 + count * (len(_BARS) - 2) // most]
        for count in hour.events
    )


def gap_marks(hour: LastHour) -> str:
    """A mark below each minute in which a gap ended; empty without one."""
    since_ms, minutes = epoch_ms(hour.since), len(hour.events)
    at = {(epoch_ms(gap.to) - since_ms) // (hour.step_seconds * 1000) for gap in hour.gaps}
    if not at:
        return ""
    return "".join(_GAP if minute in at else " " for minute in range(minutes))


def _sinks(sinks: Sequence[SinkReport], *, is_running: bool) -> Iterator[Text]:
    has_replicas = any(sink.replica is not None for sink in sinks)
    heading = (*_HEADING[:-1], "replica", _HEADING[-1]) if has_replicas else _HEADING
    right = (*_RIGHT[:-1], False, _RIGHT[-1]) if has_replicas else _RIGHT
    rows = [
        (heading, "bold"),
        *((_row(sink, has_replicas=has_replicas, is_running=is_running), _style(sink)) for sink in sinks),
    ]
    widths = [max(map(len, column)) for column in zip(*(row for row, _ in rows), strict=True)]
    for row, style in rows:
        cells = [f"{cell:{'>' if end else '<'}{width}}" for cell, width, end in zip(row, widths, right, strict=True)]
        yield Text(printable(_APART.join(cells).rstrip()), style)


def _row(sink: SinkReport, *, has_replicas: bool, is_running: bool) -> tuple[str, ...]:
    state = sink_state(sink)
    return (
        sink.sink,
        sink.kind or NOTHING,
        str(sink.lag_events),
        duration(round(sink.lag_seconds * 1000)) if sink.lag_events and sink.lag_seconds else NOTHING,
        NOTHING if sink.dead_letters is None else str(sink.dead_letters),
        *((sink.replica or NOTHING,) if has_replicas else ()),
        state if is_running or state != RUNNING else NOTHING,
    )


def _style(sink: SinkReport) -> str:
    if sink.parked is not None:
        return "red"
    return "" if sink.last_error is None else "yellow"


def _delay(ms: int) -> str:
    return f"{ms} ms" if ms < _IN_MS else duration(ms)


def _second(time: str) -> str:
    """A moment to the second."""
    return f"{time.partition('.')[0].removesuffix('Z')}Z"


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
