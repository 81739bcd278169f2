"""How a body is cut into slices as it comes: always between its messages, however it comes."""

import json
from collections import Counter
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.cometd import slices
from listener.cometd.messages import decode, salvage
from listener.cometd.slices import SLICE_BYTES, Slicer

CHATS = "/v2/me/chats"
MIB = 2**20
TEXTS = st.text(alphabet='ab{}[]",:\\ é\n\x7f', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.just("id"), inner, max_size=3),
    max_leaves=8,
)
MESSAGES = st.lists(VALUES, min_size=1, max_size=12).map(
    lambda values: [json.dumps({"channel": CHATS, "data": {"n": n, "x": value}}) for n, value in enumerate(values)]
)
DAMAGE = st.text(alphabet='ab{}[]",:\\ \x00', max_size=6)
SIZES = st.lists(st.integers(1, 90), min_size=1, max_size=8)


def body(*elements: str) -> bytes:
    return ("[" + ",".join(elements) + "]").encode()


def event(n: int, filler: str = "") -> str:
    return json.dumps({"channel": CHATS, "data": {"n": n, "filler": filler}})


class Read:
    """What comes of a body that arrives in pieces of these sizes, over and over."""

    def __init__(self, whole: bytes, sizes: list[int], *, message_bytes: int = MIB, slice_bytes: int = SLICE_BYTES):
        with patch.object(slices, "SLICE_BYTES", slice_bytes):
            self.slicer = Slicer(message_bytes=message_bytes)
            self.slices: list[bytes] = []
            self.searches = 0
            self.held = 0
            position = turn = 0
            while position < len(whole):
                size = sizes[turn % len(sizes)]
                self._feed(whole[position : position + size])
                position, turn = position + size, turn + 1
            self.slicer.end()
            self._search()
            self.rest = self.slicer.rest()
        self.messages = []
        self.refused: Counter[str] = Counter(self.slicer.refused())
        for one in [*self.slices, self.rest]:
            envelope = decode(one, sole=False)
            self.messages += envelope.messages
            self.refused += Counter(envelope.refused)

    def _feed(self, piece: bytes) -> None:
        if (one := self.slicer.feed(piece)) is not None:
            self.slices.append(one)
        self._search()
        self.held = max(self.held, len(self.slicer._buffer))

    def _search(self) -> None:
        if self.slicer.is_at_a_loss:
            self.searches += 1
            self.slices += self.slicer.search()

    @property
    def data(self) -> list[bytes]:
        return [bytes(message.data) for message in self.messages if message.is_event]

    @property
    def numbers(self) -> list[int]:
        return [json.loads(one)["n"] for one in self.data]


def test_a_small_body_comes_back_as_it_is():
    whole = body(event(1), event(2)) + b" \n"
    read = Read(whole, [7])
    assert (read.slices, read.rest) == ([], whole)


@pytest.mark.parametrize("spaces", ["", " "])
def test_a_large_body_comes_in_slices_and_no_bracket_is_read(spaces: str):
    elements = [event(n, "x" * 900) for n in range(2000)]
    whole = f"[{f',{spaces}'.join(elements)}]".encode()
    read = Read(whole, [2**16])
    assert read.numbers == list(range(2000))
    assert read.searches == 0
    assert max(map(len, read.slices)) <= SLICE_BYTES + 2**16
    assert read.held <= SLICE_BYTES + 2**16
    assert read.rest == b"[" + elements[-1].encode() + b"]" or len(read.rest) < SLICE_BYTES


def test_the_reply_may_stand_anywhere():
    reply = json.dumps({"id": "1", "channel": "/meta/connect", "successful": True})
    events = [event(n, "x" * 900) for n in range(1000)]
    for place in (0, 500, 1000):
        read = Read(body(*events[:place], reply, *events[place:]), [2**16])
        assert [message.channel for message in read.messages].index("/meta/connect") == place
        assert read.numbers == list(range(1000))


def test_objects_within_the_data_are_no_seams():
    inner = [{"id": n, "channel": "x", "data": [{"id": 1}, {"id": 2}]} for n in range(500)]
    elements = [json.dumps({"channel": CHATS, "data": {"n": n, "inner": inner}}) for n in range(20)]
    read = Read(body(*elements), [100_000])
    assert read.numbers == list(range(20))
    assert read.refused == {}


def test_a_body_without_a_message_is_no_more_than_slices():
    read = Read(b"[" + b'{"a":1},' * 40_000, [2**17])
    assert read.messages == []
    assert read.refused["not_a_message"] == 40_000
    assert read.held <= SLICE_BYTES + 2**17


@pytest.mark.parametrize(
    "text", ["x" * 3_000_000, 'a{"[\\' * 100_000, [[[{"y": "z"}]]] * 30_000], ids=["text", "quotes", "nested"]
)
@pytest.mark.parametrize("size", [2**12, 2**18 + 1])
def test_a_message_that_is_too_large_is_refused_in_bounded_memory_and_the_others_are_taken(text: object, size: int):
    large = json.dumps({"channel": CHATS, "data": {"n": 3, "x": text}})
    limit = 2**18
    read = Read(body(event(1), event(2), large, event(4), event(5)), [size], message_bytes=limit)
    assert read.numbers == [1, 2, 4, 5]
    assert read.refused == {"too_large": 1}
    assert read.held <= limit + 2 * SLICE_BYTES + size


def test_a_message_without_an_end_is_skipped_for_as_long_as_it_comes():
    read = Read(body(event(1), '{"channel": "/c", "data": "' + "y" * 8 * MIB), [2**18], message_bytes=MIB)
    assert read.numbers == [1]
    assert read.refused == {"too_large": 1}
    assert read.rest == b"[]"


def test_the_limit_is_that_of_a_message_to_the_byte():
    fitting = event(1, "x" * 100_000)
    sizes = [len(fitting), 2**17]
    for message_bytes, numbers in ((len(fitting), [1, 2]), (len(fitting) - 1, [2])):
        for size in sizes:
            assert Read(body(fitting, event(2)), [size], message_bytes=message_bytes).numbers == numbers


def test_what_is_broken_costs_itself_only():
    bad = [
        '{"channel": "/c", "data": {"a": "b}}',
        '{"channel": "/c", "data": {"a": [1, 2}}',
        '{"channel": 5, "data": }',
    ]
    elements = [event(n, "x" * 5000) for n in range(500)]
    spoilt = [*elements[:100], bad[0], *elements[100:250], bad[1], *elements[250:400], bad[2], *elements[400:]]
    read = Read(body(*spoilt), [2**16])
    assert read.numbers == list(range(500))
    assert read.refused == {"malformed_json": 3}


def test_what_never_was_json_ends():
    for text in (b"<p>" * 100_000, b'{"channel": [' * 25_000, b"}" * 300_000, b'{"' * 130_000):
        read = Read(text, [2**16], message_bytes=2**17)
        assert read.messages == []
        assert read.held <= 2 * SLICE_BYTES


@given(elements=MESSAGES, sizes=SIZES, slice_bytes=st.integers(20, 400))
def test_any_pieces_of_any_body_give_its_messages(elements: list[str], sizes: list[int], slice_bytes: int):
    read = Read(body(*elements), sizes, slice_bytes=slice_bytes)
    assert read.data == [bytes(message.data) for message in decode(body(*elements)).messages]
    assert read.refused == {}


@given(elements=MESSAGES, sizes=SIZES, limit=st.integers(60, 160), slice_bytes=st.integers(20, 400))
def test_exactly_the_messages_above_the_limit_are_refused(
    elements: list[str], sizes: list[int], limit: int, slice_bytes: int
):
    read = Read(body(*elements), sizes, message_bytes=limit, slice_bytes=slice_bytes)
    fitting = [n for n, one in enumerate(elements) if len(one.encode()) <= limit]
    assert read.numbers == fitting
    assert read.refused["too_large"] == len(elements) - len(fitting)


@given(elements=MESSAGES, data=st.data(), sizes=SIZES, slice_bytes=st.integers(20, 400))
def test_neighbours_of_one_corrupted_element_survive(
    elements: list[str], data: st.DataObject, sizes: list[int], slice_bytes: int
):
    spoilt = data.draw(st.integers(0, len(elements) - 1))
    text = elements[spoilt]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    corrupted = [*elements]
    corrupted[spoilt] = text[:start] + data.draw(DAMAGE) + text[end:]
    whole = body(*corrupted)
    expected = [bytes(message.data) for message in decode(whole, sole=False).messages if message.is_event]
    assert Read(whole, sizes, slice_bytes=slice_bytes).data == expected


@given(elements=MESSAGES, data=st.data(), sizes=SIZES, slice_bytes=st.integers(20, 400))
def test_of_a_cut_body_exactly_the_whole_elements_are_kept(
    elements: list[str], data: st.DataObject, sizes: list[int], slice_bytes: int
):
    whole = body(*elements)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    with patch.object(slices, "SLICE_BYTES", slice_bytes):
        slicer, found = Slicer(message_bytes=MIB), []
        for at in range(0, len(cut), sizes[0]):
            found.append(slicer.feed(cut[at : at + sizes[0]]) or b"[]")
            found += slicer.search() if slicer.is_at_a_loss else []
        rest = salvage(slicer.rest(), cut=True, sole=False)
    messages = [message for one in found for message in decode(one).messages] + rest.messages
    ends = [len(body(*elements[: n + 1])) - 1 for n in range(len(elements))]
    assert [json.loads(bytes(one.data))["n"] for one in messages] == [
        n for n, end in enumerate(ends) if end <= len(cut)
    ]
    assert rest.refused == {}


@given(st.binary(max_size=300), SIZES, st.integers(1, 100), st.integers(1, 100))
def test_any_bytes_are_read_or_refused(text: bytes, sizes: list[int], slice_bytes: int, message_bytes: int):
    read = Read(text, sizes, slice_bytes=slice_bytes, message_bytes=message_bytes)
    assert all(isinstance(message.channel, str) for message in read.messages)
