"""The strict reader: the examples of RFC 5424, and what each rule keeps out."""

import pytest

from support.syslog import Malformed, frames, parse

EXAMPLE = (
    b"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - "
    b'[exampleSDID@32473 iut="3" eventID="10\\"1\\"\\]1\\\\"][examplePriority@32473 class="high"] '
    b"\xef\xbb\xbfAn application event"
)
NOTHING = b"<0>1 - - - - - -"


def test_the_parts_of_a_message_are_told_apart():
    message = parse(EXAMPLE)
    assert (message.facility, message.severity) == (20, 5)
    assert message.time is not None
    assert message.time.microsecond == 3
    assert (message.hostname, message.app_name, message.procid, message.msgid) == ("192.0.2.1", "myproc", "8710", "-")
    assert message.data == {
        "exampleSDID@32473": {"iut": "3", "eventID": '10"1"]1\\'},
        "examplePriority@32473": {"class": "high"},
    }
    assert (message.bom, message.text) == (True, b"An application event")


def test_every_part_may_be_missing():
    assert parse(NOTHING).data == {}
    assert parse(NOTHING).text == b""


@pytest.mark.parametrize(
    "message",
    [
        EXAMPLE.replace(b"<165>", b"<192>"),
        EXAMPLE.replace(b"<165>", b"<065>"),
        EXAMPLE.replace(b">1 ", b">2 "),
        EXAMPLE.replace(b"000003", b"0000031"),
        EXAMPLE.replace(b"2003-08-24", b"2003-13-24"),
        EXAMPLE.replace(b"15.000003-07:00", b"15.000003"),
        EXAMPLE.replace(b"192.0.2.1", b"h\xc3\xa4"),
        EXAMPLE.replace(b"myproc", b"m" * 49),
        EXAMPLE.replace(b"exampleSDID", b"e" * 40),
        EXAMPLE.replace(b'iut="3"', b'iut="3]"'),
        EXAMPLE.replace(b'iut="3"', b"iut=3"),
        EXAMPLE.replace(b'iut="3"', b'iut="\xff"'),
        EXAMPLE.replace(b"examplePriority", b"exampleSDID"),
        EXAMPLE.replace(b"] \xef", b"]\xef"),
        EXAMPLE.replace(b"An app", b"\xff"),
        NOTHING.removesuffix(b" -"),
    ],
)
def test_what_is_not_as_the_rfc_has_it_is_refused(message):
    with pytest.raises(Malformed):
        parse(message)


def test_frames_are_counted_in_octets_and_the_rest_of_a_broken_connection_is_none():
    stream = b"".join(b"%d %b" % (len(message), message) for message in (EXAMPLE, NOTHING))
    assert list(frames(stream)) == [EXAMPLE, NOTHING]
    assert list(frames(stream[:-1])) == [EXAMPLE]
    assert list(frames(b"17")) == []


@pytest.mark.parametrize("stream", [b"07 message", b"x", b"7\nmessage", b"7 message\n8 message"])
def test_what_is_not_counted_is_refused(stream):
    with pytest.raises(Malformed):
        list(frames(stream))
