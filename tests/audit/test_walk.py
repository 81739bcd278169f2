"""What the walk over a trail remembers of it; what it finds is in `test_verify.py`."""

from hypothesis import given
from hypothesis import strategies as st

from listener.audit.walk import Spans


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5)), max_size=8), st.lists(st.integers(0, 60)))
def test_it_holds_what_a_set_would(stretches, gone):
    spans, numbers, position = Spans(), set(), 0
    for distance, length in stretches:
        spans.add(position + distance, position + distance + length)
        numbers |= set(range(position + distance, position + distance + length + 1))
        position += distance + length + 1
    for number in gone:
        assert (number in spans) == (number in numbers)
        spans.discard(number)
        numbers.discard(number)
        assert {n for first, last in spans for n in range(first, last + 1)} == numbers
        assert bool(spans) == bool(numbers)
