"""How codes are distributed over a period: what the chart draws, and the numbers behind it."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from listener.audit.events import Stretch
from listener.audit.periods import Calendar, Unit

MOST_BARS = 96
MOST_SERIES = 8
OTHER = "other"
CLEARED = "(cleared)"

_UNIT_S = {Unit.HOUR: 3600, Unit.DAY: 86_400, Unit.WEEK: 604_800, Unit.MONTH: 2_629_800, Unit.YEAR: 31_557_600}

Hours = Mapping[tuple[int, str, str | None], int]
"""Counts by the start of the hour (epoch seconds), key and code."""


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """One code, bar by bar; the last may stand for all the codes that have no series of their own."""

    name: str
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Over all bars."""
        return sum(self.counts)


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Bars and their series, the largest code first. `in_gap` tells by bar whether a gap lies in it."""

    unit: Unit
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    in_gap: tuple[bool, ...]

    @property
    def totals(self) -> tuple[int, ...]:
        """The height of each bar."""
        return tuple(map(sum, zip(*(one.counts for one in self.series), strict=True)))


def distribute(
    hours: Hours,
    *,
    calendar: Calendar,
    gaps: Sequence[Stretch] = (),
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> Distribution:
    """Counts as bars of the smallest unit that needs no more than 96 of them; without counts there is no bar.

    The bars reach from the start of the period to its end, where these are given and that is no more than 96 years.
    """
    if not hours:
        return Distribution(unit=Unit.DAY, labels=(), series=(), in_gap=())
    first_s, last_s = min(hour for hour, _, _ in hours), max(hour for hour, _, _ in hours)
    wide = (
        first_s if from_ms is None else min(first_s, from_ms // 1000),
        last_s if to_ms is None else max(last_s, (to_ms - 1) // 1000),
    )
    if wide[1] - wide[0] <= (MOST_BARS - 2) * _UNIT_S[Unit.YEAR]:
        first_s, last_s = wide
    unit = _unit_of(last_s - first_s)
    start_of = {hour: calendar.start_of(unit, hour) for hour in {hour for hour, _, _ in hours}}
    starts = sorted({*calendar.starts(unit, first_s, last_s), *start_of.values()})
    return Distribution(
        unit=unit,
        labels=tuple(calendar.label(unit, start) for start in starts),
        series=_series(hours, starts, start_of),
        in_gap=_touched(starts, calendar.next_of(unit, starts[-1]), gaps),
    )


def _unit_of(span_s: int) -> Unit:
    return next((unit for unit in Unit if span_s // _UNIT_S[unit] < MOST_BARS - 1), Unit.YEAR)


def _series(hours: Hours, starts: Sequence[int], start_of: Mapping[int, int]) -> tuple[Series, ...]:
    several = len({key for _, key, _ in hours}) > 1
    bars: Counter[tuple[int, str]] = Counter()
    totals: Counter[str] = Counter()
    for (hour, key, code), count in hours.items():
        name = (f"{key}: " if several else "") + (CLEARED if code is None else code)
        bars[start_of[hour], name] += count
        totals[name] += count
    names = sorted(totals, key=lambda name: (-totals[name], name))
    shown = names if len(names) <= MOST_SERIES else names[: MOST_SERIES - 1]
    found = [Series(name=name, counts=tuple(bars[start, name] for start in starts)) for name in shown]
    if rest := names[len(shown) :]:
        counts = tuple(sum(bars[start, name] for name in rest) for start in starts)
        found.append(Series(name=f"{OTHER} ({len(rest)} codes)", counts=counts))
    return tuple(found)


def _touched(starts: Sequence[int], end: int, gaps: Sequence[Stretch]) -> tuple[bool, ...]:
    """Both are in order, so one walk over them is enough."""
    found, at = [], 0
    for start, following in zip(starts, (*starts[1:], end), strict=True):
        while at < len(gaps) and gaps[at].end_ms < start * 1000:
            at += 1
        found.append(at < len(gaps) and gaps[at].start_ms < following * 1000)
    return tuple(found)
