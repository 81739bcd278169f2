"""What the daemon's tests read out of an audit file."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.config import AUDIT
from support.listening import Listening, without_repeats

AT = datetime(2026, 11, 22, 9, 39, tzinfo=UTC)


def listening_to(folder: Path, *events: dict[str, object]) -> Listening:
    (folder / AUDIT).write_text("".join(json.dumps(event) + "\n" for event in events))
    return Listening(folder, server={})


def test_numbers_and_gaps_are_told_apart(tmp_path: Path):
    listening = listening_to(
        tmp_path,
        {"type": "a.chat.disposition", "data": {"disposition": "code-7"}},
        {"type": "a.chat.gap", "data": {"reason": "network"}},
    )
    assert listening.numbers == [7]
    assert listening.gaps == [{"reason": "network"}]


def test_a_moment_lies_in_a_gap_or_not(tmp_path: Path):
    gap = {"from": "2026-11-22T09:38:59.000Z", "to": "2026-11-22T09:39:01.000Z"}
    listening = listening_to(tmp_path, {"type": "a.chat.gap", "data": gap})
    assert listening.lies_in_a_gap(AT)
    assert not listening.lies_in_a_gap(AT + timedelta(seconds=2))


def test_an_event_that_stands_twice_counts_once_where_it_stood_first():
    one, two = {"id": "1", "sequence": "1"}, {"id": "2", "sequence": "2"}
    assert without_repeats([one, two, one]) == [one, two]


def test_one_id_for_two_events_is_an_error():
    with pytest.raises(AssertionError, match="one id, two events"):
        without_repeats([{"id": "1", "sequence": "1"}, {"id": "1", "sequence": "2"}])
