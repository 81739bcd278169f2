"""The distribution of codes over a period, and its chart: SVG that stands alone or in a page, as stacked bars."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from listener.audit.escaping import element, text
from listener.audit.events import Stretch
from listener.audit.periods import Calendar, Unit

MOST_BARS = 96
MOST_SERIES = 8
OTHER = "other"
CLEARED = "(cleared)"

_UNIT_S = {Unit.HOUR: 3600, Unit.DAY: 86_400, Unit.WEEK: 604_800, Unit.MONTH: 2_629_800, Unit.YEAR: 31_557_600}

Hours = Mapping[tuple[int, str, str | None], int]
"""Counts by the start of the hour (epoch seconds), key and code."""

WIDTH, _PLOT_HEIGHT = 960, 260
_LEFT, _RIGHT, _TOP = 60, 12, 34
_GAP_STRIP, _LABELS = 14, 22
_LEGEND_COLUMNS, _LEGEND_LINE = 4, 22
_MOST_TICKS = 6
_LABEL_APART = 78
_HOURS_APART = (1, 2, 3, 6, 12, 24)
_BAR_APART = 0.18  # of a bar's room
_WIDEST_BAR = 44.0
_SEAM, _VANISHING = 0.8, 2  # between segments; a thinner one would vanish in it
_LONGEST_NAME = 26


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


class Ink(msgspec.Struct, frozen=True, kw_only=True):
    """The colours of a series on light and on dark ground, each with a contrast of 3:1 or more against it."""

    light: str
    dark: str


INKS = (
    Ink(light="#0b66b2", dark="#5aa9f0"),
    Ink(light="#b3590a", dark="#f0a052"),
    Ink(light="#0e7c5b", dark="#45c79c"),
    Ink(light="#9c2f86", dark="#e286cf"),
    Ink(light="#6a5a00", dark="#d6c04a"),
    Ink(light="#5a49c4", dark="#a99bf7"),
    Ink(light="#a8323a", dark="#f48a90"),
    Ink(light="#59636e", dark="#a3aebb"),
)
"""The first one is that of the largest code; the last one, grey, that of the rest where there are so many."""

GROUND = Ink(light="#ffffff", dark="#11161d")
_FAINT = Ink(light="#d5dae0", dark="#313a45")
_TEXT = Ink(light="#1c232b", dark="#e4e9ef")
_ALARM = Ink(light="#c01c28", dark="#ff7b82")

# What tells the series apart without colour. Drawn over the colour in that of the ground, on a tile of 8 by 8.
_HATCHES = (
    "",
    "M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4",
    "M0,4 h8",
    "M2,2 h2 v2 h-2 z M6,6 h2 v2 h-2 z",
    "M-2,6 l4,4 M0,0 l8,8 M6,-2 l4,4",
    "M4,0 v8",
    "M0,4 h8 M4,0 v8",
    "M-2,2 l4,-4 M0,8 l8,-8 M6,10 l4,-4 M-2,6 l4,4 M0,0 l8,8 M6,-2 l4,4",
)


def _rules(shade: str) -> str:
    """The style sheet of one ground."""
    rules = [f".ink{number}{{fill:{getattr(ink, shade)}}}" for number, ink in enumerate(INKS)]
    rules += [
        f".ground{{fill:{getattr(GROUND, shade)}}}",
        f".hatch{{stroke:{getattr(GROUND, shade)}}}",
        f".rule{{stroke:{getattr(_FAINT, shade)}}}",
        f".says{{fill:{getattr(_TEXT, shade)}}}",
        f".alarm{{fill:{getattr(_ALARM, shade)}}}",
    ]
    return "".join(rules)


STYLE = f"{_rules('light')}@media screen and (prefers-color-scheme:dark){{{_rules('dark')}}}"
"""What a page with a drawing in it has to have in its style sheet."""


def draw(distribution: Distribution, *, title: str) -> str:
    """The chart as an `svg` element for a page that has `STYLE`, and says the title above."""
    return _svg(distribution, title, f"dispositions per {distribution.unit}")


def draw_alone(distribution: Distribution, *, title: str) -> str:
    """The chart as a file of its own, with its title."""
    style = element("style", STYLE)
    ground = element("rect", class_="ground", width="100%", height="100%", fill=GROUND.light)
    above = f"{title}; bars per {distribution.unit}"
    drawn = _svg(distribution, title, above, before=style + ground, xmlns="http://www.w3.org/2000/svg")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{drawn}\n'


def describe(distribution: Distribution) -> str:
    """The chart in words, for whoever cannot see it."""
    if not distribution.labels:
        return "There are no dispositions in this period."
    series = ", ".join(f"{one.name} {one.total:,}" for one in distribution.series)
    span = f"from {distribution.labels[0]} to {distribution.labels[-1]}"
    gaps = sum(distribution.in_gap)
    touched = f" Gaps touch {gaps} of the {len(distribution.in_gap)} bars." if gaps else ""
    return f"Stacked bars, one per {distribution.unit}, {span}: {series}.{touched}"


def _svg(distribution: Distribution, title: str, above: str, *, before: str = "", xmlns: str | None = None) -> str:
    legend_top = _TOP + _PLOT_HEIGHT + _GAP_STRIP + _LABELS + 16
    lines = -(-len(distribution.series) // _LEGEND_COLUMNS) + any(distribution.in_gap)
    return element(
        "svg",
        element("title", text(title), id="chart-title"),
        element("desc", text(describe(distribution)), id="chart-desc"),
        before,
        _hatches(len(distribution.series)),
        _says(above, x=_LEFT, y=18),
        *_plot(distribution),
        *_legend(distribution, legend_top),
        xmlns=xmlns,
        role="img",
        aria_labelledby="chart-title chart-desc",
        viewBox=f"0 0 {WIDTH} {legend_top + lines * _LEGEND_LINE + 4}",
        font_family="system-ui, sans-serif",
        font_size=12,
    )


def _hatches(count: int) -> str:
    patterns = [
        element(
            "pattern",
            element("rect", class_=f"ink{number}", width=8, height=8, fill=INKS[number].light),
            element(
                "path", class_="hatch", d=path, stroke=GROUND.light, stroke_width=1.4, stroke_opacity=0.75, fill="none"
            )
            if path
            else "",
            id=f"hatch{number}",
            width=8,
            height=8,
            patternUnits="userSpaceOnUse",
        )
        for number, path in enumerate(_HATCHES[:count])
    ]
    return element("defs", *patterns)


def _plot(distribution: Distribution) -> Iterator[str]:
    """Scale, bars, the strip that shows gaps, and the names of bars."""
    bottom = _TOP + _PLOT_HEIGHT
    ticks = ticks_up_to(max(distribution.totals, default=0))
    for tick in ticks:
        y = bottom - _PLOT_HEIGHT * tick / ticks[-1]
        yield element("line", class_="rule", x1=_LEFT, x2=WIDTH - _RIGHT, y1=_n(y), y2=_n(y), stroke=_FAINT.light)
        yield _says(f"{tick:,}", x=_LEFT - 8, y=y + 4, anchor="end")
    if not distribution.labels:
        yield _says("no dispositions", x=(_LEFT + WIDTH) / 2, y=_TOP + _PLOT_HEIGHT / 2, anchor="middle")
        return
    room = (WIDTH - _LEFT - _RIGHT) / len(distribution.labels)
    width = min(room * (1 - _BAR_APART), _WIDEST_BAR)
    named = _named(distribution, room)
    for at, label in enumerate(distribution.labels):
        middle = _LEFT + room * (at + 0.5)
        yield from _bar(distribution, at, middle - width / 2, width, _PLOT_HEIGHT / ticks[-1])
        if distribution.in_gap[at]:
            yield _gap_mark(middle - room / 2, bottom + 4, room, label)
        if at in named:
            yield _says(
                _short(label, distribution.unit), x=middle, y=bottom + _GAP_STRIP + _LABELS - 6, anchor="middle"
            )


def _bar(distribution: Distribution, at: int, x: float, width: float, per_event: float) -> Iterator[str]:
    """The segments of one bar, the largest code at the foot."""
    y = float(_TOP + _PLOT_HEIGHT)
    for number, series in enumerate(distribution.series):
        count = series.counts[at]
        if not count:
            continue
        height = count * per_event
        y -= height
        told = element("title", text(f"{distribution.labels[at]}, {series.name}: {count:,}"))
        seam = _SEAM if height > _VANISHING else 0
        yield element(
            "rect", told, x=_n(x), y=_n(y + seam), width=_n(width), height=_n(height - seam), fill=_fill(number)
        )


def _gap_mark(x: float, y: float, width: float, label: str) -> str:
    told = element("title", text(f"{label}: a gap: a disposition may have been missed"))
    return element("rect", told, class_="alarm", x=_n(x), y=y, width=_n(max(width, 2)), height=5, fill=_ALARM.light)


def _legend(distribution: Distribution, top: int) -> Iterator[str]:
    column = (WIDTH - _LEFT - _RIGHT) / _LEGEND_COLUMNS
    for number, series in enumerate(distribution.series):
        line, place = divmod(number, _LEGEND_COLUMNS)
        x, y = _LEFT + column * place, top + line * _LEGEND_LINE
        yield element("rect", x=_n(x), y=y, width=14, height=14, rx=2, fill=_fill(number))
        name = series.name if len(series.name) <= _LONGEST_NAME else f"{series.name[: _LONGEST_NAME - 1]}…"
        yield _says(f"{name}  {series.total:,}", x=x + 20, y=y + 11.5)
    if any(distribution.in_gap):
        y = top + -(-len(distribution.series) // _LEGEND_COLUMNS) * _LEGEND_LINE
        yield element("rect", class_="alarm", x=_LEFT, y=y + 5, width=14, height=5, fill=_ALARM.light)
        yield _says("a gap: a disposition may have been missed", x=_LEFT + 20, y=y + 11.5)


def _fill(number: int) -> str:
    return f"url(#hatch{number})"


def ticks_up_to(most: int) -> Sequence[int]:
    """Round whole numbers from 0 to the first that is not below `most`."""
    step = 1
    while most > step * (_MOST_TICKS - 1):
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return range(0, step * max(1, -(-most // step)) + 1, step)


def _named(distribution: Distribution, room: float) -> frozenset[int]:
    """The bars whose names have room below them; of hours those that divide the day."""
    labels = distribution.labels
    every = next((step for step in _HOURS_APART if step * room >= _LABEL_APART), _HOURS_APART[-1])
    if distribution.unit is Unit.HOUR:
        return frozenset(
            at for at, label in enumerate(labels) if label[14:16] == "00" and int(label[11:13]) % every == 0
        )
    return frozenset(range(0, len(labels), max(1, math.ceil(_LABEL_APART / room))))


def _short(label: str, unit: Unit) -> str:
    """An hour without its date where it is not midnight, a date without its year where it does not begin one."""
    if unit is Unit.HOUR:
        return label[5:10] if label[11:13] == "00" else label[11:16]
    return label if unit in (Unit.MONTH, Unit.YEAR) or label[5:] == "01-01" else label[5:]


def _says(words: str, *, x: float, y: float, anchor: str | None = None) -> str:
    return element("text", text(words), class_="says", x=_n(x), y=_n(y), text_anchor=anchor, fill=_TEXT.light)


def _n(value: float) -> str:
    """A length with as many digits as can be seen."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
