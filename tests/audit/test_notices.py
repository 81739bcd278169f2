"""What a trail says of itself stands in the chain like any record, and is no event of a chat."""

import json

from listener.audit.chain import Head, head_of
from listener.audit.events import event_of
from listener.audit.notices import NOTICE, Unconfirmed, What, digest_of, notice, unconfirmed_in
from support.trail import trail

LINES, HEAD = trail(3)


def made(what, data):
    return notice(what, data, sink="audit", head=HEAD, time_s=1_795_340_340.5)


def test_a_notice_is_a_record_and_a_cloudevent():
    line, head = made(What.QUARANTINED, {"lines": 1})
    assert head == head_of(line[:-1]) == Head(4, head.hash)
    event = json.loads(line)
    assert event.pop("id").startswith("audit-")
    assert event == {
        "specversion": "1.0",
        "type": "disposition-listener.audit.quarantined",
        "source": "disposition-listener",
        "subject": "audit",
        "time": "2026-11-22T09:39:00.500Z",
        "datacontenttype": "application/json",
        "sequence": "0",
        "chainindex": "3",
        "chainprevious": HEAD.hash.hex(),
        "data": {"lines": 1},
    }
    assert line.startswith(NOTICE)
    assert event_of(line).data is None, "a report does not take it for a disposition"


def test_two_notices_of_one_content_have_ids_of_their_own():
    first, head = made(What.KEY, {})
    second, _ = notice(What.KEY, {}, sink="audit", head=head, time_s=1_795_340_340.5)
    assert json.loads(first)["id"] != json.loads(second)["id"]


def test_unconfirmed_records_are_found_in_their_notice_alone():
    told = {"firstRecord": 3, "lastRecord": 7}
    assert unconfirmed_in(made(What.UNCONFIRMED, told)[0]) == Unconfirmed(3, 7)
    assert unconfirmed_in(made(What.KEY, told)[0]) is None
    assert unconfirmed_in(LINES[0]) is None
    assert unconfirmed_in(made(What.UNCONFIRMED, {"firstRecord": "x"})[0]) is None


def test_the_digest_is_that_of_the_lines_with_their_ends():
    assert digest_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
