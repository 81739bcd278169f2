"""What stands in a file already is known, however far back, and looking costs nothing where there is no doubt."""

import os

import pytest
from msgspec.structs import replace

from listener.audit import reading
from listener.audit import window as recent
from listener.audit.window import DedupWindow, key_of
from support.events import disposition_event, events_of
from support.trail import trail


@pytest.fixture
def file(tmp_path):
    """An open file that lines are put into."""
    fd = os.open(tmp_path / "events.jsonl", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    yield fd
    os.close(fd)


def put(fd, events):
    os.write(fd, b"".join(event.to_json() + b"\n" for event in events))


def fresh(known, fd, events):
    """The sequences of those that are new."""
    found = known.fresh(events, [event.to_json() for event in events], lambda: fd)
    return [events[index].sequence for index in found]


@pytest.fixture
def looks(monkeypatch):
    """Counts the lines that are read backwards, from the moment on."""
    counted = []
    backwards = reading.lines_backwards

    def counting(fd):
        for found in backwards(fd):
            counted.append(1)
            yield found

    monkeypatch.setattr(recent, "lines_backwards", counting)
    return counted


def test_a_record_and_its_event_have_one_key_and_no_other_event_has_it():
    lines, _ = trail(3)
    events = [disposition_event(number, chat=f"chat-{number % 7}") for number in (1, 2, 3)]
    keys = [key_of(event.to_json()) for event in events]
    assert [key_of(line) for line in lines] == keys
    others = [replace(events[0], id="other"), replace(events[0], sequence=9), replace(events[0], id='a","sequence":"1')]
    assert len({*keys, *(key_of(event.to_json()) for event in others)}) == 6


@pytest.mark.parametrize("line", [b"", b"\n", b"{}", b"not JSON", b'{"id":"1"}', b'{"a":1,"id":"1"'])
def test_what_is_no_event_has_no_key(line):
    assert key_of(line) is None


def test_the_end_of_a_file_is_known_and_what_is_above_it_is_new(file):
    put(file, events_of(10))
    known = DedupWindow()
    known.start(file)
    assert fresh(known, file, events_of(10, first=6)) == [11, 12, 13, 14, 15]


def test_above_the_highest_sequence_nothing_is_looked_up(file, looks):
    put(file, events_of(10))
    known = DedupWindow()
    known.start(file)
    looks.clear()
    for number in range(11, 40):
        events = events_of(1, first=number)
        assert fresh(known, file, events) == [number]
        put(file, events)
        known.note(events[-1].sequence)
    assert looks == []
    assert known.remembered == 10, "the hot path remembers nothing"


def test_what_was_appended_since_is_found_by_reading_on(file):
    known = DedupWindow()
    known.start(file)
    put(file, events_of(10))
    known.note(10)
    assert fresh(known, file, events_of(10)) == []


def test_beyond_the_window_the_file_is_searched_and_the_rest_is_found_from_there_on(file, monkeypatch, looks):
    monkeypatch.setattr(recent, "WINDOW", 40)
    monkeypatch.setattr(recent, "_STEP", 10)
    put(file, events_of(400))
    known = DedupWindow()
    known.start(file)
    looks.clear()
    for first in range(101, 401, 50):
        assert fresh(known, file, events_of(50, first=first)) == []
        assert known.remembered <= 40
    assert len(looks) <= 300, "one search, and reading on from where it ended"


def test_a_new_journal_is_searched_for_once_and_never_again(file, monkeypatch, looks):
    monkeypatch.setattr(recent, "WINDOW", 40)
    put(file, events_of(400))
    known = DedupWindow()
    known.start(file)
    looks.clear()
    for first in range(1, 200, 10):
        batch = [replace(event, id=f"new-{event.sequence}") for event in events_of(10, first=first)]
        assert fresh(known, file, batch) == [event.sequence for event in batch]
        put(file, batch)
        known.note(batch[-1].sequence)
        assert fresh(known, file, batch) == []
    assert len(looks) == 400


def test_a_test_event_is_always_new_and_looks_for_nothing(file, looks):
    put(file, events_of(10))
    known = DedupWindow()
    known.start(file)
    looks.clear()
    trial = replace(disposition_event(1), sequence=0)
    assert fresh(known, file, [trial]) == [0]
    assert looks == []


def test_the_file_before_a_short_one_is_remembered_too(file):
    put(file, events_of(3, first=8))
    asked = []

    def before(count):
        asked.append(count)
        return [event.to_json() + b"\n" for event in events_of(7)]

    known = DedupWindow()
    known.start(file, before)
    assert asked == [recent.WINDOW - 3]
    assert fresh(known, file, events_of(11)) == [11]


def test_a_file_that_is_left_is_remembered(file, tmp_path):
    known = DedupWindow()
    known.start(file)
    put(file, events_of(5))
    known.note(5)
    known.leave(file)
    os.truncate(tmp_path / "events.jsonl", 0)
    put(file, events_of(2, first=6))
    known.note(7)
    assert fresh(known, file, events_of(8)) == [8]
