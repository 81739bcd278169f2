"""Which dead letters a command line means."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import typer

from listener.cli import selection
from listener.cli.selection import Selected, Selection, filter_of, select
from listener.journal.views import dead_letters as stored


def meant(journal, **conditions):
    return [(letter.sink, letter.sequence) for letter in select(journal, Selection(**conditions))]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, [("crm", 1), ("crm", 2), ("crm", 3), ("bi", 1)]),
        ({"sink": "crm"}, [("crm", 1), ("crm", 2), ("crm", 3)]),
        ({"sink": "audit"}, []),
        ({"ids": ["event-1"]}, [("crm", 1), ("bi", 1)]),
        ({"ids": ["event-3", "event-1"], "sink": "crm"}, [("crm", 1), ("crm", 3)]),
        ({"since": "2026-11-22T10:00:00Z"}, [("crm", 2), ("crm", 3), ("bi", 1)]),
        ({"since": "2026-11-22T10:00:00.001Z"}, [("crm", 3), ("bi", 1)]),
        ({"until": "2026-11-22T10:00:00"}, [("crm", 1), ("crm", 2)]),
        ({"until": "2026-11-22T12:00:00+02:00"}, [("crm", 1), ("crm", 2)]),
        ({"since": "2026-11-22T10:00:00Z", "until": "2026-11-22T11:30:00Z"}, [("crm", 2), ("crm", 3)]),
        ({"until": "2020-01-01"}, []),
    ],
)
def test_every_condition_narrows(letters, conditions, expected):
    assert meant(letters, **conditions) == expected


@pytest.mark.parametrize(
    ("ago", "seconds"), [("45s", 45), ("30m", 1800), ("2h", 7200), ("1.5d", 129_600), ("1w", 604_800)]
)
def test_a_time_may_be_so_long_ago(ago, seconds):
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert selection.time_ms(ago, "--since", now) == int(now.timestamp() - seconds) * 1000


def test_a_time_without_a_zone_is_of_the_zone_that_is_meant():
    now, berlin = datetime(2026, 11, 22, 12, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    meant = [selection.time_ms(text, "--from", now, berlin) for text in ("2026-11-22", "2026-11-21T23:00:00.000Z")]
    assert meant == [1_795_302_000_000, 1_795_302_000_000]
    assert selection.time_ms("2026-11-22T00:00:00.001", "--from", now) == 1_795_305_600_001


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "h", "2026-13-01", "1e9d", "99999999999d"])
def test_what_is_no_time_is_told_with_what_is(letters, text):
    with pytest.raises(typer.BadParameter, match="is no time: give 2026-11-22T09:39:00Z, or so long ago as") as caught:
        select(letters, Selection(since=text))
    assert caught.value.param_hint == "--since"


def test_the_beginning_of_an_id_is_enough_where_it_names_one(letters):
    with pytest.raises(Selected, match=r"several events begin with 'event-': event-1, event-2, event-3$"):
        select(letters, Selection(ids=["event-"]))
    assert meant(letters, ids=["event-3"]) == [("crm", 3)]


def test_an_id_of_no_letter_is_told(letters):
    with pytest.raises(Selected, match="no dead letter of an event 'event-9'"):
        select(letters, Selection(ids=["event-1", "event-9"]))


def test_an_unknown_sink_is_told_with_the_known_ones(letters):
    with pytest.raises(Selected, match=r"knows no sink 'cmr' \(known: audit, bi, crm\)"):
        select(letters, Selection(sink="cmr"))


@pytest.mark.parametrize(
    "which",
    [
        Selection(sink="crm"),
        Selection(ids=["event-1"]),
        Selection(since="2026-11-22T10:00:00Z"),
        Selection(until="2026-11-22T10:30:00Z"),
        Selection(),
    ],
)
def test_the_filter_means_the_letters_that_were_seen(letters, which):
    seen = select(letters, which)
    assert stored(letters, filter_of(seen, which)) == seen
    assert filter_of(seen, which).until_ms == seen[-1].at_ms, "and none that comes later"


def test_a_selection_is_empty_where_nothing_was_said():
    assert Selection().is_empty
    assert not any(one.is_empty for one in (Selection(["a"]), Selection(sink="a"), Selection(since="1h")))
