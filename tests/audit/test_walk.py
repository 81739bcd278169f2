"""Every tampering, at a random place, is found, named and placed."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from listener.audit.chain import Head, chained, hash_of, head_of, link_of
from listener.audit.findings import Kind, Location
from listener.audit.verify import verify
from support.events import disposition_event
from support.trail import trail, write

COUNT = 24
LINES, HEAD = trail(COUNT)
Draw = Callable[..., int]


def verified(lines, *, files=1, partial=False):
    with tempfile.TemporaryDirectory() as folder:
        return verify(write(Path(folder), lines, files=files), partial=partial)


def found(lines, files=1):
    """The kinds that are found, each with the lines, counted over all files."""
    size = -(-len(lines) // files)
    verdict = verified(lines, files=files)
    return [
        (finding.kind, finding.place.line + size * int(finding.place.file.stem[-1])) for finding in verdict.findings
    ]


def forged(number: int, *, behind: bytes) -> bytes:
    """A record of the forger's own, linked behind a line as a true one would be."""
    event = disposition_event(number, value="Forged")
    head = head_of(behind.removesuffix(b"\n"))
    return chained(event.to_json(), len(event.data), head)[0] + b"\n"


some = st.integers(0, COUNT - 1)
files = st.integers(1, 3)


@given(files)
def test_a_trail_that_nobody_touched_has_no_finding(split):
    verdict = verified(LINES, files=split)
    assert (verdict.findings, verdict.first, verdict.head, verdict.records) == ([], 0, HEAD, COUNT)


@given(st.integers(0, COUNT - 2), st.data(), files)
def test_an_edit_is_found_in_its_line(number, data, split):
    line = LINES[number]
    at = data.draw(st.integers(0, len(line) - 2))
    byte = data.draw(st.integers(32, 126).filter(lambda byte: byte != line[at]))
    edited = line[:at] + bytes([byte]) + line[at + 1 :]
    kinds = found([*LINES[:number], edited, *LINES[number + 1 :]], split)
    assert kinds
    if link_of(edited) is not None and link_of(edited) == link_of(line):
        assert kinds == [(Kind.EDITED, number + 1)]
    elif number > 0:
        assert (Kind.EDITED, number + 1) in kinds
        assert {line for _, line in kinds} <= {number + 1}


@given(st.integers(0, COUNT - 2), files)
def test_another_value_of_the_same_length_is_found(number, split):
    edited = LINES[number].replace(b"IssueResolved", b"IssueReopened")
    assert found([*LINES[:number], edited, *LINES[number + 1 :]], split) == [(Kind.EDITED, number + 1)]


@given(
    st.integers(1, COUNT - 1), st.sampled_from([b"{}\n", b"\n", b"not JSON\n", disposition_event(9).to_json() + b"\n"])
)
def test_a_strange_line_is_found_where_it_was_put_in(number, strange):
    assert found([*LINES[:number], strange, *LINES[number:]]) == [(Kind.INSERTED, number + 1)]


@given(some, some, files)
def test_a_copy_of_a_record_is_found_where_it_was_put_in(number, place, split):
    tampered = [*LINES[: place + 1], LINES[number], *LINES[place + 1 :]]
    kinds = found(tampered, split)
    if number == place + 1:
        assert kinds == [(Kind.INSERTED, place + 3)], "the copy stands in the place of the record, which comes again"
    elif number <= place:
        assert kinds == [(Kind.INSERTED, place + 2)]
    else:
        assert kinds, "a later record comes early, and again"


@given(st.integers(0, COUNT - 2))
def test_a_forged_record_with_a_fitting_link_is_told_from_the_true_one(number):
    tampered = [*LINES[: number + 1], forged(99, behind=LINES[number]), *LINES[number + 1 :]]
    kinds = found(tampered)
    if number < COUNT - 2:
        assert kinds == [(Kind.INSERTED, number + 2)]
    else:
        assert kinds in ([(Kind.INSERTED, number + 2)], [(Kind.INSERTED, number + 3)]), "nothing follows either"


@given(st.integers(1, COUNT - 2), st.integers(1, 5), files)
def test_deleted_records_are_found_and_counted(first, count, split):
    last = min(first + count, COUNT - 1)
    tampered = [*LINES[:first], *LINES[last:]]
    verdict = verified(tampered, files=split)
    (finding,) = verdict.findings
    size = -(-len(tampered) // split)
    assert finding.kind is Kind.DELETED
    assert finding.place.line + size * int(finding.place.file.stem[-1]) == first + 1
    named = f"record {first} is" if last - first == 1 else f"records {first} to {last - 1} are"
    assert named in finding.text


@given(st.integers(1, COUNT - 1))
def test_a_beginning_that_is_missing_is_found_unless_that_is_known(count):
    (finding,) = verified(LINES[count:]).findings
    assert (finding.kind, finding.place.line) == (Kind.DELETED, 1)
    assert verified(LINES[count:], partial=True).findings == []


@given(some, some)
def test_a_moved_record_is_found(origin, target):
    assume(abs(origin - target) > 0)
    tampered = LINES[:origin] + LINES[origin + 1 :]
    tampered.insert(target, LINES[origin])
    assume(tampered[0] == LINES[0])
    kinds = found(tampered)
    assert {kind for kind, _ in kinds} == {Kind.REORDERED}
    assert all(min(origin, target) < line - 1 <= max(origin, target) + 1 for _, line in kinds)


@given(st.permutations(range(1, 8)))
def test_an_order_of_whatever_kind_is_found(order):
    assume(order != sorted(order))
    kinds = found([LINES[0], *(LINES[number] for number in order), *LINES[8:]])
    assert Kind.REORDERED in {kind for kind, _ in kinds}
    assert {kind for kind, _ in kinds} <= {Kind.REORDERED}


@given(st.integers(0, COUNT - 2), st.integers(2, 6))
def test_a_second_history_behind_the_first_is_a_fork(number, count):
    other, _ = trail(count, start=head_of(forged(50, behind=LINES[number]).removesuffix(b"\n")))
    tampered = [*LINES, forged(50, behind=LINES[number]), *other]
    kinds = found(tampered)
    assert {kind for kind, _ in kinds} & {Kind.FORKED, Kind.INSERTED}
    assert all(line >= COUNT for _, line in kinds)


@given(st.integers(1, COUNT - 1), st.integers(1, 20))
def test_a_line_without_its_end_is_found(number, missing):
    tampered = [*LINES[:number], LINES[number][:-missing]]
    assert (Kind.CUT, number + 1) in found(tampered)


OLDER = [disposition_event(number).to_json() + b"\n" for number in range(3)]
BEHIND_OLDER = trail(COUNT, start=Head(0, hash_of(b"".join(OLDER))))[0]


def test_lines_from_before_the_chain_are_counted_and_not_proven():
    verdict = verified([*OLDER, *BEHIND_OLDER])
    assert (verdict.findings, verdict.unchained, verdict.records) == ([], 3, COUNT)


@given(st.integers(1, 3))
def test_a_line_put_before_a_chain_that_began_its_file_is_found(count):
    verdict = verified([*OLDER[:count], *LINES])
    assert [(each.kind, each.place.line) for each in verdict.findings] == [(Kind.INSERTED, 1)]
    assert (verdict.unchained, verdict.records) == (0, COUNT)


@given(st.permutations(range(3)), st.integers(0, 3))
def test_what_stood_before_the_chain_cannot_be_changed_either(order, kept):
    older = [OLDER[number] for number in order][:kept]
    expected = [] if older == OLDER else [(Kind.EDITED, kept + 1)]
    assert [(each.kind, each.place.line) for each in verified([*older, *BEHIND_OLDER]).findings] == expected


def test_a_line_put_before_the_first_record_of_a_later_file_is_found_without_the_earlier_ones():
    kinds = {each.kind for each in verified([OLDER[0], *LINES[5:]]).findings}
    assert Kind.INSERTED in kinds


def test_nothing_is_nothing():
    verdict = verified([])
    assert (verdict.findings, verdict.first, verdict.head) == ([], None, Head())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_edits_beside_each_other_are_found(count):
    edited = [line.replace(b"IssueResolved", b"IssueReopened") for line in LINES[5 : 5 + count]]
    kinds = found([*LINES[:5], *edited, *LINES[5 + count :]])
    assert kinds
    assert {kind for kind, _ in kinds} == {Kind.EDITED}
    assert {line for _, line in kinds} <= set(range(6, 6 + count))


def test_a_place_is_a_file_and_a_line(tmp_path):
    paths = write(tmp_path, [*LINES[:20], b"{}\n", *LINES[20:]], files=2)
    (finding,) = verify(paths).findings
    assert finding.place == Location(paths[1], 8)
