"""What comes again after a cut is recognised, and nothing else is."""

import json

from hypothesis import given
from hypothesis import strategies as st

from listener.cometd.messages import Message, decode
from listener.cometd.taken import Taken

EVENTS = st.lists(st.integers(0, 2), max_size=30)  # few numbers: many look alike


def messages(numbers: list[int]) -> list[Message]:
    return decode(json.dumps([{"channel": "/c", "data": {"n": n}} for n in numbers]).encode()).messages


def numbers(events: list[Message]) -> list[int]:
    return [json.loads(bytes(event.data))["n"] for event in events]


class Session:
    """Takes answers in pieces, as a session does, and keeps what was new."""

    def __init__(self) -> None:
        self.taken = Taken()
        self.kept: list[int] = []

    def answer(self, *pieces: list[int], whole: bool = False) -> None:
        self.taken.begin()
        for piece in pieces:
            new, _ = self.taken.new(messages(piece), last=False)
            if new:
                self.kept += numbers(new)
                self.taken.add(new)
        if whole:
            self.kept += numbers(self.taken.new([], last=True)[0])
            self.taken.clear()


def cut(queue: list[int], sizes: list[int]) -> list[list[int]]:
    pieces, turn = [], 0
    while queue:
        size = sizes[turn % len(sizes)]
        pieces.append(queue[:size])
        queue, turn = queue[size:], turn + 1
    return pieces


SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@given(
    queue=EVENTS,
    attempts=st.lists(st.tuples(st.integers(0, 30), SIZES, EVENTS), max_size=4),
    sizes=SIZES,
    restarts=st.booleans(),
)
def test_a_queue_that_is_sent_until_it_is_acknowledged_is_kept_exactly_once(
    queue: list[int], attempts: list[tuple[int, list[int], list[int]]], sizes: list[int], restarts: bool
):
    """Cut anywhere, in pieces of any size, while it grows, in the same process or another."""
    session = Session()
    for come, in_pieces, more in attempts:
        session.answer(*cut(queue[:come], in_pieces))
        queue = queue + more
        if restarts:
            session.taken = Taken(json.loads(json.dumps(session.taken.parts)))
    session.answer(*cut(queue, sizes), whole=True)
    assert session.kept == queue


def test_a_digest_that_does_not_fit_tells_nothing():
    session = Session()
    session.answer([1, 2], [3, 4])
    session.answer([1, 2], [9, 3, 4], whole=True)
    assert session.kept == [1, 2, 3, 4, 9, 3, 4]


def test_what_is_held_back_has_the_size_of_what_it_may_be():
    """A server that sends something else instead, and much more of it, fills no memory."""
    session = Session()
    session.answer([0] * 20)
    large = decode(json.dumps([{"channel": "/c", "data": {"n": 5, "x": "y" * 1000}}]).encode()).messages
    session.taken.begin()
    assert session.taken.new(large, last=False) == (large, 0)


def test_nothing_is_noted_of_what_is_beyond_all_measure():
    session = Session()
    for _ in range(3):
        session.answer(*[[0]] * 4100)
    assert len(session.taken.parts) == 4096
    assert len(session.kept) == 4100 + 4 + 4
