"""Bars: how long, of which codes, touched by gaps; and sound SVG of them, for eyes that see no colour, and none."""

import re
from datetime import UTC
from itertools import pairwise
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest

from listener.audit import chart
from listener.audit.chart import MOST_BARS, MOST_SERIES, distribute
from listener.audit.events import Stretch, epoch_ms
from listener.audit.periods import Calendar, Unit
from support.contrast import contrast

START = epoch_ms("2026-11-01T00:00:00Z") // 1000
HOUR, DAY = 3600, 86_400
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text></svg><script>alert(1)</script>\x00\u202e"


def days(count, *codes):
    return {(START + day * DAY, "k", code): 10 + day for day in range(count) for code in codes}


def drawn(hours, **options):
    shown = distribute(hours, calendar=Calendar(UTC), **options)
    return ET.fromstring(chart.draw_alone(shown, title="Dispositions by code, November"))  # noqa: S314 - it is ours


def segments(svg):
    """By the fill of a series, what the bars tell on being pointed at, and the height that is drawn for one event."""
    found = {}
    for rect in svg.iter(f"{SVG}rect"):
        title = rect.find(f"{SVG}title")
        if title is not None and rect.get("fill", "").startswith("url"):
            found.setdefault(rect.get("fill"), []).append((title.text, float(rect.get("height"))))
    return found


def test_every_number_is_drawn_in_its_proportion():
    found = segments(drawn(days(30, "a", "b")))
    assert {fill: len(bars) for fill, bars in found.items()} == {"url(#hatch0)": 30, "url(#hatch1)": 30}
    told, heights = zip(*found["url(#hatch0)"], strict=True)
    assert (told[0], told[-1]) == ("2026-11-01, a: 10", "2026-11-30, a: 39")
    assert (heights[-1] + 0.8) / (heights[0] + 0.8) == pytest.approx(3.9, abs=0.01)


def test_bars_stand_on_one_another_and_below_the_scale():
    svg = drawn(days(3, "a", "b", "c"))
    rects = [
        r for r in svg.iter(f"{SVG}rect") if r.get("fill", "").startswith("url") and r.find(f"{SVG}title") is not None
    ]
    by_bar = {}
    for rect in rects:
        by_bar.setdefault(rect.get("x"), []).append((float(rect.get("y")), float(rect.get("height"))))
    assert len(by_bar) == 3
    for bar in by_bar.values():
        for (above, _), (y, height) in pairwise(reversed(bar)):
            assert above < y
            assert y + height <= 34 + 260 + 0.01
    assert all(y >= 34 for bar in by_bar.values() for y, _ in bar)


def test_series_differ_without_colour_and_the_legend_names_them():
    svg = drawn(days(2, *"abcdefgh"))
    paths = [p.find(f"{SVG}path") for p in svg.iter(f"{SVG}pattern")]
    assert len({None if path is None else path.get("d") for path in paths}) == len(paths) == 8
    words = [text.text for text in svg.iter(f"{SVG}text")]
    assert [word for word in words if re.fullmatch(r"[a-h]  21", word or "")] == [f"{code}  21" for code in "abcdefgh"]


def test_it_is_described_for_who_cannot_see_it():
    svg = drawn(days(3, "a"), gaps=[Stretch(START * 1000, START * 1000 + 5)])
    assert (svg.get("role"), svg.get("aria-labelledby")) == ("img", "chart-title chart-desc")
    assert svg.find(f"{SVG}title").text == "Dispositions by code, November"
    assert svg.find(f"{SVG}desc").text.endswith(": a 33. Gaps touch 1 of the 49 bars.")
    assert "a gap: a disposition may have been missed" in [text.text for text in svg.iter(f"{SVG}text")]


def test_without_dispositions_it_says_so():
    svg = drawn({})
    assert "no dispositions" in [text.text for text in svg.iter(f"{SVG}text")]
    assert "no dispositions in this period" in svg.find(f"{SVG}desc").text


def test_no_code_becomes_markup_and_nothing_comes_from_elsewhere():
    svg = drawn(days(2, HOSTILE))
    assert {one.tag.removeprefix(SVG) for one in svg.iter()} <= {
        *("svg", "title", "desc", "style", "rect", "defs", "pattern", "path", "line", "text"),
    }
    written = ET.tostring(svg, encoding="unicode")
    assert re.findall(r"(?:href|src|@import|url\((?!#))", written) == []
    assert "\u202e" not in written


@pytest.mark.parametrize("shade", ["light", "dark"])
def test_colours_have_enough_contrast_on_either_ground(shade):
    """WCAG 2.2: 1.4.11 wants 3:1 of what is drawn, 1.4.3 wants 4.5:1 of text."""
    ground = getattr(chart.GROUND, shade)
    assert [ink for ink in chart.INKS if contrast(getattr(ink, shade), ground) < 3] == []
    text = re.search(r"\.says\{fill:(#\w+)\}", chart.STYLE.split("@media")[shade == "dark"])[1]
    assert contrast(text, ground) >= 4.5


@pytest.mark.parametrize(
    ("most", "ticks"),
    [(0, [0, 1]), (1, [0, 1]), (4, [0, 1, 2, 3, 4]), (11, [0, 5, 10, 15]), (158, [0, 50, 100, 150, 200])],
)
def test_scales_have_round_numbers(most, ticks):
    assert list(chart.ticks_up_to(most)) == ticks


@pytest.mark.parametrize("most", [7, 99, 100, 101, 12_345, 9_999_999])
def test_scales_reach_above_the_highest_bar_with_few_lines(most):
    ticks = chart.ticks_up_to(most)
    assert ticks[-2] < most <= ticks[-1]
    assert len(ticks) <= 7


def spread(*hours, code="a", zone=UTC, **period):
    return distribute({(START + hour * HOUR, "k", code): 1 for hour in hours}, calendar=Calendar(zone), **period)


@pytest.mark.parametrize(
    ("last_hour", "unit"),
    [
        (0, Unit.HOUR),
        (94, Unit.HOUR),
        (96, Unit.DAY),
        (94 * 24, Unit.DAY),
        (96 * 24, Unit.WEEK),
        (3 * 365 * 24, Unit.MONTH),
        (30 * 365 * 24, Unit.YEAR),
    ],
)
def test_bars_are_as_long_as_their_number_allows(last_hour, unit):
    shown = spread(0, last_hour)
    assert (shown.unit, len(shown.labels) <= MOST_BARS) == (unit, True)
    assert sum(shown.totals) == (2 if last_hour else 1)
    assert shown.totals[0] >= 1
    assert shown.totals[-1] >= 1


def test_bars_fill_the_period_that_was_asked_for():
    shown = spread(24 * 10, from_ms=START * 1000, to_ms=epoch_ms("2026-12-01T00:00:00Z"))
    assert (shown.labels[0], shown.labels[-1], len(shown.labels)) == ("2026-11-01", "2026-11-30", 30)
    assert shown.totals[10] == 1


def test_a_period_without_reason_is_not_drawn():
    shown = spread(5, 7, from_ms=0, to_ms=253_370_764_800_000)  # the year 9999
    assert shown.labels == ("2026-11-01T05:00Z", "2026-11-01T06:00Z", "2026-11-01T07:00Z")


def test_days_are_those_of_the_zone():
    shown = spread(*range(-3, 120), zone=ZoneInfo("Europe/Berlin"))
    assert (shown.labels[0], shown.totals[0]) == ("2026-10-31", 2)


def test_the_smallest_codes_share_a_series():
    hours = {(START, "k", f"code-{number:02d}"): number for number in range(1, 12)} | {(START, "k", None): 20}
    shown = distribute(hours, calendar=Calendar(UTC))
    names = [one.name for one in shown.series]
    assert (len(names), names[0], names[1], names[-1]) == (MOST_SERIES, "(cleared)", "code-11", "other (5 codes)")
    assert sum(shown.totals) == sum(hours.values())


def test_as_many_codes_as_there_are_colours_keep_their_names():
    shown = distribute({(START, "k", f"code-{n}"): 1 for n in range(MOST_SERIES)}, calendar=Calendar(UTC))
    assert [one.name for one in shown.series] == [f"code-{n}" for n in range(MOST_SERIES)]


def test_codes_of_several_keys_are_told_apart():
    shown = distribute({(START, "k", "a"): 1, (START, "l", "a"): 2}, calendar=Calendar(UTC))
    assert [one.name for one in shown.series] == ["l: a", "k: a"]


def test_bars_that_a_gap_touches_are_marked():
    ms = [(START + hour * HOUR) * 1000 for hour in range(6)]
    gaps = [Stretch(ms[0] - 5, ms[0] - 1), Stretch(ms[1] + 5, ms[1] + 6), Stretch(ms[2] + 9, ms[4] + 1)]
    assert spread(*range(6), gaps=gaps).in_gap == (False, True, True, True, True, False)


def test_nothing_is_no_bar():
    assert distribute({}, calendar=Calendar(UTC), from_ms=0, to_ms=9).labels == ()
