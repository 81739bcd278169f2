import hashlib
import json

import pytest

from listener.audit.chain import GENESIS, Head, Link, chained, hash_of, head_of, link_of
from listener.model.event import Kind
from listener.testing import sample_gap, sample_test
from support.events import disposition_event

EVENT = disposition_event(7, value='a","chainindex":"9","chainprevious":"' + 64 * "0" + '","data":')


@pytest.mark.parametrize("event", [EVENT, sample_gap(1), sample_test("audit")], ids=lambda event: Kind(event.kind))
def test_a_record_is_the_event_with_its_place_and_the_hash_before(event):
    before = Head(41, hashlib.sha256(b"the line before").digest())
    line, head = chained(event.to_json(), len(event.data), before)
    written = json.loads(line)
    assert written.pop("chainindex") == "41"
    assert written.pop("chainprevious") == before.hash.hex()
    assert written == json.loads(event.to_json())
    assert list(json.loads(line))[-1] == "data"
    assert head == Head(42, hashlib.sha256(line).digest()) == head_of(line)
    assert link_of(line) == Link(41, before.hash)


def test_the_first_record_stands_behind_zeros():
    line, _ = chained(EVENT.to_json(), len(EVENT.data), Head())
    assert link_of(line) == Link(0, GENESIS)


@pytest.mark.parametrize("line", [b"", b"{}", EVENT.to_json(), b'{"a":1,"chainindex":"x","chainprevious":""}'])
def test_what_is_no_record_is_none(line):
    assert link_of(line) is None
    assert head_of(line) is None


def test_a_value_cannot_pass_for_a_link():
    line, _ = chained(EVENT.to_json(), len(EVENT.data), Head(3, hash_of(b"x")))
    assert link_of(line) == Link(3, hash_of(b"x"))
