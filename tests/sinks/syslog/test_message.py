import os
import socket

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.model.forms import CLOUD_EVENT, form_of
from listener.sinks.syslog.message import MessageWriter, framed
from listener.sinks.syslog.settings import SyslogSettings
from support.events import disposition_event, gap_event
from support.syslog import frames, parse


def written(event, form=CLOUD_EVENT, **settings):
    """The message as a strict receiver reads it."""
    return parse(MessageWriter(SyslogSettings(host="h", **settings), form).message(event))


def test_every_part_says_what_it_is_there_for():
    event = disposition_event(7)
    message = written(event)
    assert (message.facility, message.severity) == (16, 6)
    assert message.time.isoformat() == "2026-11-22T09:39:00.123000+00:00"
    assert (message.hostname, message.app_name) == (socket.gethostname(), "disposition-listener")
    assert (message.procid, message.msgid) == (str(os.getpid()), "disposition")
    assert message.data == {
        "disposition@32473": {
            "id": "event-7",
            "sequence": "7",
            "type": "disposition-listener.chat.disposition",
            "source": "https://gws.example.com/api/v2/me/chats",
            "subject": "0000Na9B26EF003M",
            "account": "agent1",
            "change": "set",
        }
    }
    assert (message.bom, message.text) == (False, event.to_json())


def test_a_gap_is_one_by_its_msgid_and_has_no_change():
    message = written(gap_event(1))
    assert message.msgid == "gap"
    assert "change" not in message.data["disposition@32473"]


def test_names_and_numbers_are_those_of_the_settings():
    message = written(
        gap_event(1),
        facility="audit",
        severity="notice",
        hostname="cc.example",
        app_name="gws",
        sd_id="acd@1.2",
        bom=True,
    )
    assert (message.facility, message.severity, message.bom) == (13, 5, True)
    assert (message.hostname, message.app_name, list(message.data)) == ("cc.example", "gws", ["acd@1.2"])


def test_the_text_has_the_form_that_the_table_asks_for():
    form = form_of("template", "$chatId: $disposition", "text/plain")
    assert written(disposition_event(1), form).text == b"0000Na9B26EF003M: IssueResolved"


@given(st.text())
def test_whatever_a_chat_is_called_a_strict_receiver_reads_it(name):
    event = replace(disposition_event(1), subject=name)
    found = written(event).data["disposition@32473"]["subject"]
    assert found == "".join(c if c.isprintable() else " " for c in name)


def test_frames_count_octets():
    messages = ["<0>1 - - - - - - ä".encode(), b"<0>1 - - - - - -"]
    assert framed(messages) == b"19 " + messages[0] + b"16 " + messages[1]
    assert list(frames(framed(messages))) == messages
