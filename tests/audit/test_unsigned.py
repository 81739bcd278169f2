"""What no checkpoint covers is found, whichever file it is in, and held against the journal line by line."""

import gzip
import os

import pytest

from listener.audit.chain import Head, chained, hash_of, head_of
from listener.audit.unsigned import Body, Known, judge, ranges, tail_of
from listener.audit.window import sequence_of
from support.events import disposition_event
from support.trail import trail

LINES, HEAD = trail(12)
TEXTS = [line[:-1] for line in LINES]


def head(size):
    return head_of(TEXTS[size - 1]) if size else Head()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def found(path):
    """The tail behind a checkpoint of so many records."""

    def find(size):
        path.touch()
        fd = os.open(path, os.O_RDONLY)
        try:
            return tail_of(path, fd, head(size))
        finally:
            os.close(fd)

    return find


def texts(tail):
    return [line.text for line in tail.lines]


@pytest.mark.parametrize("size", [0, 1, 5, 12])
def test_it_is_what_stands_behind_the_last_checkpoint(path, found, size):
    path.write_bytes(b"".join(LINES))
    tail = found(size)
    assert (texts(tail), tail.base, tail.whole) == (TEXTS[size:], head(size), True)
    assert tail.highest == (size if size < 12 else 0)
    assert tail.follows is (size < 12)


@pytest.mark.parametrize("size", [0, 3, 7])
@pytest.mark.parametrize("packed", [True, False])
def test_it_reaches_back_into_the_files_before(path, found, size, packed):
    for number, part in enumerate((LINES[:5], LINES[5:8])):
        old = path.with_name(f"audit.jsonl.{2 - number}" + (".gz" if packed else ""))
        old.write_bytes(gzip.compress(b"".join(part)) if packed else b"".join(part))
        os.utime(old, (number, number))
    path.write_bytes(b"".join(LINES[8:]))
    tail = found(size)
    assert (texts(tail), tail.base, tail.whole) == (TEXTS[size:], head(size), True)
    assert [line.offset is None for line in tail.lines] == [number < 8 for number in range(size, 12)]


def test_where_files_are_missing_it_says_so(path, found):
    path.write_bytes(b"".join(LINES[8:]))
    tail = found(5)
    assert (texts(tail), tail.base, tail.whole) == (TEXTS[8:], head(8), False)


def test_a_file_that_begins_behind_the_checkpoint_needs_no_other(path, found):
    path.write_bytes(b"".join(LINES[8:]))
    tail = found(8)
    assert (texts(tail), tail.base, tail.whole) == (TEXTS[8:], head(8), True)


def test_what_was_there_before_the_chain_is_none_of_it(path, found):
    older = [disposition_event(number).to_json() + b"\n" for number in (90, 91)]
    lines, _ = trail(4, start=Head(0, hash_of(b"".join(older))))
    path.write_bytes(b"".join([*older, *lines]))
    tail = found(0)
    assert (texts(tail), tail.follows) == ([line[:-1] for line in lines], True)


def test_signed_records_that_were_changed_are_none_of_it_either(path, found):
    changed = [record(1, Head(), value="Forged")]
    for number in range(2, 13):
        changed.append(record(number, head_of(changed[-1][:-1])))
    path.write_bytes(b"".join(changed))
    tail = found(8)
    assert (texts(tail), tail.base, tail.follows) == ([line[:-1] for line in changed[8:]], head(8), False)


def body(number, **others):
    event = disposition_event(number, chat=f"chat-{number % 7}", **others)
    return Body(event.to_json(), len(event.data))


def known(last, *, first=1, **_):
    return Known({number: body(number) for number in range(first, last + 1)}, last)


def record(number, behind, **others):
    made, _ = chained(*body(number, **others), behind)
    return made + b"\n"


def judged(path, found, lines, size, journal):
    path.write_bytes(b"".join(lines))
    return judge(found(size), journal)


def test_what_the_journal_delivers_stays(path, found):
    one = judged(path, found, LINES, 5, known(20))
    assert (one.sound, one.head, one.kept, one.false, one.unconfirmed) == (7, HEAD, [], [], [])


@pytest.mark.parametrize(
    "line",
    [
        record(13, HEAD),
        record(12, HEAD),
        record(3, HEAD),
        body(13).event + b"\n",
        b"{}\n",
        b"\n",
        b"any text\n",
    ],
    ids=["of no event", "a copy", "an old copy", "without a link", "an empty object", "an empty line", "text"],
)
def test_a_line_that_was_appended_is_false(path, found, line):
    one = judged(path, found, [*LINES, line], 2, known(12))
    assert (one.sound, one.head, one.kept) == (10, HEAD, [])
    assert [false.text for false in one.false] == [line[:-1]]


def test_a_line_with_another_content_gives_way_to_the_event_of_the_journal(path, found):
    forged = record(10, head(9), value="Forged")
    one = judged(path, found, [*LINES[:9], forged], 5, known(12))
    assert (one.sound, one.head, one.kept) == (4, head(9), [body(10)])
    assert [false.text for false in one.false] == [forged[:-1]]


def test_what_stands_behind_a_false_line_is_chained_anew(path, found):
    forged = record(99, head(8))
    true = [record(9, head_of(forged[:-1]))]
    true.append(record(10, head_of(true[0][:-1])))
    one = judged(path, found, [*LINES[:8], forged, *true], 5, known(12))
    assert (one.sound, one.head, one.kept) == (3, head(8), [body(9), body(10)])
    assert [false.text for false in one.false] == [forged[:-1]]


def test_true_lines_in_another_order_are_put_in_order(path, found):
    swapped = [record(8, head(6))]
    swapped += [record(7, head_of(swapped[0][:-1]))]
    one = judged(path, found, [*LINES[:6], *swapped], 5, known(12))
    assert (one.sound, one.head, one.kept, one.false) == (1, head(6), [body(7), body(8)], [])


def test_what_the_journal_has_no_more_stays_and_is_not_confirmed(path, found):
    one = judged(path, found, LINES, 5, known(12, first=9))
    assert (one.sound, one.head, one.false, one.unconfirmed) == (7, HEAD, [], [5, 6, 7])


@pytest.mark.parametrize("size", [0, 5])
def test_a_journal_that_is_older_than_the_trail_confirms_nothing_and_condemns_nothing(path, found, size):
    one = judged(path, found, LINES, size, Known({}, 0))
    assert (one.sound, one.false, one.unconfirmed) == (12 - size, [], [*range(size, 12)])


def test_another_journal_that_has_grown_meanwhile_condemns_nothing_either(path, found):
    """A new journal begins at 1 again; its events bear other ids."""
    other = {number: Body(body(number).event.replace(b'"id":"', b'"id":"other-'), 0) for number in range(1, 30)}
    one = judged(path, found, LINES, 5, Known(other, 29))
    assert (one.sound, one.kept, one.false, one.unconfirmed) == (7, [], [], [*range(5, 12)])


def test_the_journal_is_asked_for_the_last_signed_event_too(path, found):
    path.write_bytes(b"".join(LINES))
    assert found(5).sequences == [*range(5, 13)]


def test_numbers_are_told_as_stretches():
    assert ranges(range(0), []) == []
    assert ranges(range(0), [1, 2, 3, 5, 8, 9]) == [(1, 3), (5, 5), (8, 9)]
    assert ranges(range(10**17), [10**17, 10**17 + 2]) == [(0, 10**17), (10**17 + 2, 10**17 + 2)]


def test_the_sequence_of_a_body_is_that_of_its_line(path, found):
    path.write_bytes(b"".join(LINES))
    assert [line.body for line in found(4).lines] == [body(number) for number in range(5, 13)]
    assert [sequence_of(line.text) for line in found(4).lines] == [*range(5, 13)]
