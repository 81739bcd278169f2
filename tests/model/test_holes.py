"""Counting events between two sequences, against a model that has each sequence."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from listener.model.holes import all_holes, events_between

SEQUENCES = st.integers(0, 40)


@given(st.sets(st.integers(1, 30), min_size=1), SEQUENCES, SEQUENCES)
def test_what_has_no_event_is_not_counted(used: set[int], after: int, through: int):
    newest = max(used) + 3
    ends = [*sorted(used), newest + 1]
    known = [(one + 1, following - 1) for one, following in pairwise(ends) if following > one + 1]
    known.append((0, 0))  # long passed by retention
    expected = sum(after < one <= through for one in used) + max(0, through - max(after, newest))
    assert events_between(after, through, all_holes(min(used), newest, known)) == expected


def test_of_an_empty_journal_nothing_is_left():
    assert events_between(0, 7, all_holes(None, 7, [])) == 0
    assert events_between(0, 0, all_holes(None, 0, [])) == 0
