"""From signed heads back along the chain, as far as it is unbroken."""

from pathlib import Path

import pytest

from listener.audit.chain import Head
from listener.audit.coverage import Segments, marks, stretches
from listener.audit.verdict import Location, Proof, Span

FILE, NEXT = Path("a"), Path("b")


def head(size):
    return Head(size, bytes([size]) * 32)


def collected(*parts):
    """Segments of (file, line, first record, records, sizes that are looked for); strange lines have no record."""
    made = Segments()
    for file, line, first, count, *sizes in parts:
        if first is None:
            made.strange(Location(file, line))
            continue
        for size in sizes:
            made.note(head(size))
        made.add(Location(file, line), head(first + count), head(first).hash, count)
    return made


def shown(segments, **signed):
    made = stretches(segments, {key: {head(size) for size in sizes} for key, sizes in signed.items()})
    return [(one.proof, one.records, one.keys) for one in made]


def test_a_signature_covers_what_is_before_it_and_nothing_behind():
    segments = collected((FILE, 1, 0, 10, 7))
    assert shown(segments, key=[7]) == [
        (Proof.SIGNED, Span(0, 6), ("key",)),
        (Proof.CHAINED, Span(7, 9), ()),
    ]


def test_it_covers_earlier_files_too():
    assert shown(collected((FILE, 1, 0, 4), (NEXT, 1, 4, 4, 8)), key=[8]) == [(Proof.SIGNED, Span(0, 7), ("key",))]


def test_a_broken_link_ends_what_it_covers():
    segments = collected((FILE, 1, 0, 4))
    segments.note(head(8))
    segments.add(Location(FILE, 5), head(8), b"another", 4)
    assert shown(segments, key=[8]) == [(Proof.CHAINED, Span(0, 3), ()), (Proof.SIGNED, Span(4, 7), ("key",))]


def test_a_strange_line_between_two_records_is_not_covered():
    segments = collected((FILE, 1, 0, 4), (FILE, 5, None, 1), (FILE, 6, 4, 4, 8))
    assert shown(segments, key=[8]) == [
        (Proof.SIGNED, Span(0, 3), ("key",)),
        (Proof.NONE, None, ()),
        (Proof.SIGNED, Span(4, 7), ("key",)),
    ]


def test_each_key_covers_as_much_as_it_has_signed():
    assert shown(collected((FILE, 1, 0, 10, 4, 8)), old=[4], new=[8]) == [
        (Proof.SIGNED, Span(0, 3), ("old", "new")),
        (Proof.SIGNED, Span(4, 7), ("new",)),
        (Proof.CHAINED, Span(8, 9), ()),
    ]


def test_records_that_come_again_are_proven_once():
    segments = collected((FILE, 1, 0, 4, 4), (FILE, 5, 0, 4, 4))
    assert shown(segments, key=[4]) == [(Proof.SIGNED, Span(0, 3), ("key",)), (Proof.NONE, Span(0, 3), ())]


def test_another_head_of_that_size_is_not_the_one_that_was_signed():
    segments = Segments()
    segments.note(Head(4, b"forged"))
    segments.add(Location(FILE, 1), Head(4, b"forged"), bytes(32), 4)
    assert shown(segments, key=[4]) == [(Proof.CHAINED, Span(0, 3), ())]
    assert marks(segments) == {4: [(Head(4, b"forged"), Location(FILE, 4))]}


@pytest.mark.parametrize("parted", [1, 4, 6, 8])
def test_a_signature_reaches_no_further_back_than_to_where_the_chain_is_parted(parted):
    segments = collected((FILE, 1, 0, 4), (NEXT, 1, 4, 4), (NEXT, 5, 8, 2, 10))
    segments.part_at(parted)
    assert shown(segments, key=[10]) == [
        (Proof.CHAINED, Span(0, parted - 1), ()),
        (Proof.SIGNED, Span(parted, 9), ("key",)),
    ]


def test_a_signature_before_the_parting_covers_what_is_before_it():
    segments = collected((FILE, 1, 0, 10, 3, 10))
    segments.part_at(5)
    assert shown(segments, key=[3, 10]) == [
        (Proof.SIGNED, Span(0, 2), ("key",)),
        (Proof.CHAINED, Span(3, 4), ()),
        (Proof.SIGNED, Span(5, 9), ("key",)),
    ]
