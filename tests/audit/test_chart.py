"""The chart: sound SVG, with all its numbers, for eyes that see no colour, and for none."""

import re
from datetime import UTC
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from listener.audit import chart
from listener.audit.distribution import distribute
from listener.audit.events import Stretch, epoch_ms
from listener.audit.periods import Calendar
from support.contrast import contrast

START = epoch_ms("2026-11-01T00:00:00Z") // 1000
DAY = 86_400
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
    assert "a gap lies here: a disposition may have been missed" in [text.text for text in svg.iter(f"{SVG}text")]


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
