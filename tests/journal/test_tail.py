"""The newest events in memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.journal.tail import Tail
from listener.testing import sample_event

EVENT = sample_event(1)


def numbered(first, last, *, data=b"{}"):
    return [replace(EVENT, sequence=n, data=data) for n in range(first, last + 1)]


def sequences(found):
    return [event.sequence for event in found]


def test_an_empty_tail_knows_that_nothing_is_above_the_last_sequence():
    tail = Tail(last_sequence=7)
    assert tail.read(7, 10) == []
    assert tail.read(6, 10) is None


def test_it_reads_above_a_sequence_up_to_the_limit():
    tail = Tail(last_sequence=7)
    tail.extend(numbered(8, 20))
    assert sequences(tail.read(7, 3)) == [8, 9, 10]
    assert sequences(tail.read(18, 30)) == [19, 20]
    assert tail.read(20, 30) == []


def test_too_many_events_push_out_the_oldest():
    tail = Tail(last_sequence=0, max_events=100)
    tail.extend(numbered(1, 101))
    assert tail.read(0, 1) is None
    assert sequences(tail.read(100, 10)) == [101]


def test_too_many_bytes_push_out_the_oldest():
    tail = Tail(last_sequence=0, max_bytes=1000)
    tail.extend(numbered(1, 10, data=b"x" * 100))
    assert sequences(tail.read(0, 1)) == [1]
    tail.extend(numbered(11, 11, data=b"x"))
    assert tail.read(0, 1) is None
    assert sequences(tail.read(10, 10)) == [11]


def test_one_event_beyond_the_bound_leaves_an_empty_tail():
    tail = Tail(last_sequence=0, max_bytes=1000)
    tail.extend(numbered(1, 1, data=b"x" * 2000))
    assert tail.read(0, 1) is None
    assert tail.read(1, 1) == []


@pytest.mark.parametrize(("through", "left"), [(0, [1, 2, 3]), (2, [3]), (3, []), (99, [])])
def test_what_retention_deleted_is_gone(through, left):
    tail = Tail(last_sequence=0)
    tail.extend(numbered(1, 3))
    tail.forget_through(through)
    assert sequences(tail.read(3 - len(left), 10)) == left
    assert through == 0 or tail.read(0, 10) is None


@given(steps=st.lists(st.integers(0, 40), max_size=30), after=st.integers(0, 400), limit=st.integers(0, 50))
def test_it_never_gives_a_hole_and_never_passes_its_bound(steps, after, limit):
    tail = Tail(last_sequence=0, max_events=64)
    last = 0
    for count in steps:
        tail.extend(numbered(last + 1, last + count))
        last += count
    found = tail.read(after, limit)
    if found is not None:
        assert sequences(found) == list(range(after + 1, min(last, after + limit) + 1))
    newest = tail.read(max(0, last - 16), 16)
    assert newest is not None
    assert sequences(newest) == list(range(max(0, last - 16) + 1, last + 1))
    assert last <= 64 or tail.read(last - 65, 1) is None
