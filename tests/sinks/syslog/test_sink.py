"""The syslog sink against a strict receiver and against rsyslog."""

import asyncio
import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from listener.errors import Reject, Retry
from listener.model.forms import CLOUD_EVENT, form_of
from listener.sinks.syslog.settings import SyslogSettings
from listener.sinks.syslog.sink import MessageWriter, framed
from listener.testing.events import sample_event
from support.authority import Authority
from support.events import disposition_event, events_of, gap_event
from support.eventually import eventually
from support.rsyslog import Rsyslog
from support.syslog import frames, parse
from support.syslogd import Syslogd, read_all, read_all_and_say_goodbye


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


def ids(syslogd):
    return [message.data["disposition@32473"]["id"] for message in syslogd.messages()]


async def test_each_batch_has_a_connection_of_its_own(syslogd, make_sink):
    sink = await make_sink(syslogd.port, tls=False)
    for first in (1, 4):
        await sink.deliver(events_of(3, first=first))
    assert [len(messages) for messages in syslogd.connections() if messages] == [3, 3]


async def test_a_kept_connection_takes_all_batches_and_is_replaced_when_it_has_ended(syslogd, make_sink):
    sink = await make_sink(syslogd.port, tls=False, confirm="sent")
    for number in (1, 2):
        await sink.deliver([disposition_event(number)])
    await eventually(lambda: len(ids(syslogd)) == 2)
    assert [len(messages) for messages in syslogd.connections() if messages] == [2]
    await syslogd.kill()
    await syslogd.start()
    await sink.deliver([disposition_event(3)])
    await eventually(lambda: ids(syslogd) == ["event-1", "event-2", "event-3"])


async def test_over_tls_certificates_are_verified_and_shown(tmp_path, owned, make_sink, authority):
    wants_one = Syslogd(tmp_path / "got", tls=(authority.issue("server"), authority.ca_file))
    await owned.enter_async_context(wants_one)
    trusting = {"ca_file": str(authority.ca_file), "client_cert_file": str(authority.issue("client"))}
    for confirm in ("close", "sent"):
        await (await make_sink(wants_one.port, **trusting, confirm=confirm)).deliver(events_of(3))
    await eventually(lambda: ids(wants_one) == [f"event-{number}" for number in (1, 2, 3)] * 2)
    strange = tmp_path / "strange"
    strange.mkdir()
    for options in ({}, {"ca_file": str(Authority(strange).ca_file)}):
        with pytest.raises(Retry, match="a certificate that is not trusted"):
            await make_sink(wants_one.port, **options)


async def test_a_receiver_that_used_to_say_goodbye_and_ends_without_has_not_taken_the_batch(
    serve, make_sink, authority
):
    """It may have died with all of it read and nothing of it written."""
    ends = iter([read_all_and_say_goodbye, read_all_and_say_goodbye, read_all, read_all_and_say_goodbye])

    def end(connection):
        next(ends)(connection)

    _, port = serve(end, authority.server())
    sink = await make_sink(port, ca_file=str(authority.ca_file))
    await sink.deliver([disposition_event(1)])
    with pytest.raises(Retry, match="without the close_notify that it sent before"):
        await sink.deliver([disposition_event(2)])
    await sink.deliver([disposition_event(2)])


async def test_what_the_receiver_would_cut_off_is_rejected_by_name_before_anything_is_sent(syslogd, make_sink):
    sink = await make_sink(syslogd.port, tls=False, max_bytes=2048)
    batch = [sample_event(1), sample_event(2, data_bytes=2048), sample_event(3), sample_event(4, data_bytes=3000)]
    with pytest.raises(Reject, match=r"bytes, more than sinks\.siem\.max_bytes = 2048") as caught:
        await sink.deliver(batch)
    assert caught.value.letters.keys() == {1, 3}
    assert ids(syslogd) == []


async def test_a_receiver_that_does_not_close_is_given_up_after_the_time_limit(syslogd, make_sink):
    sink = await make_sink(syslogd.port, tls=False, timeout_s=0.2)
    with syslogd.stopped(), pytest.raises(Retry, match=r"did not take it within 0\.2 s"):
        await sink.deliver([disposition_event(1)])


async def test_a_sink_that_is_not_open_delivers_nothing(syslogd, make_sink):
    sink = await make_sink(syslogd.port, opened=False, tls=False)
    with pytest.raises(Retry, match=r"sinks\.siem is not open"):
        await sink.deliver([disposition_event(1)])


@pytest.mark.parametrize(
    ("confirm", "risk"), [("close", "has read the batch"), ("sent", "whether or not its process has read it")]
)
async def test_that_nothing_is_acknowledged_is_always_a_warning(tls_syslogd, make_sink, authority, confirm, risk):
    with capture_logs() as logs:
        await make_sink(tls_syslogd.port, ca_file=str(authority.ca_file), confirm=confirm)
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("sink_durability_weak", "warning")
    assert line["destination"] == f"127.0.0.1:{tls_syslogd.port}"
    (told,) = line["risks"]
    assert risk in told


LINE = "%syslogfacility-text%.%syslogseverity-text%|%timereported:::date-rfc3339%|%hostname%|%app-name%|%msgid%"


@pytest.mark.parametrize("driver", ["ptcp", "ossl", "gtls"])
async def test_rsyslog_reads_every_part(tmp_path, owned, make_sink, authority, driver):
    tls = {"CA": authority.ca_file, "Cert": (both := authority.issue("server")), "Key": both}
    template = f"{LINE}|%structured-data%|%msg%"
    rsyslog = Rsyslog(tmp_path / "rsyslog", template=template, driver=driver, files=tls if driver != "ptcp" else {})
    await owned.enter_async_context(rsyslog)
    options = {"ca_file": str(authority.ca_file)} if driver != "ptcp" else {"tls": False}
    with capture_logs() as logs:
        sink = await make_sink(rsyslog.port, hostname="cc.example", **options)
    assert len(logs[0]["risks"]) == (2 if driver == "gtls" else 1), "gtls sends no close_notify"
    events = events_of(40, chats=3)
    await sink.deliver(events)
    lines = await rsyslog.lines(40)
    assert [line.rpartition("|")[2].encode() for line in lines] == [event.to_json() for event in events]
    *head, structured_data, _ = lines[0].split("|", 6)
    assert head == ["local0.info", "2026-11-22T09:39:00.123Z", "cc.example", "disposition-listener", "disposition"]
    assert 'id="event-1"' in structured_data


async def test_rsyslog_takes_the_largest_message_of_the_default_whole_and_cuts_a_larger_one(tmp_path, owned, make_sink):
    """Which is why `max_bytes` is what it is: nobody would tell us."""
    rsyslog = await owned.enter_async_context(Rsyslog(tmp_path / "rsyslog", template="%msg%"))
    sink = await make_sink(rsyslog.port, tls=False, max_bytes=20_000)
    fits, cut = sample_event(1, data_bytes=7_500), sample_event(2, data_bytes=9_000)
    await sink.deliver([fits, cut])
    lines = await rsyslog.lines(2)
    assert lines[0].encode() == fits.to_json()
    assert cut.to_json().decode() not in lines


def test_the_loop_of_uvloop_does_as_well(tmp_path, authority, make_sink):
    uvloop = pytest.importorskip("uvloop")

    async def run():
        async with Syslogd(tmp_path / "got", tls=(authority.issue("server"),)) as syslogd:
            for confirm in ("close", "sent"):
                sink = await make_sink(syslogd.port, ca_file=str(authority.ca_file), confirm=confirm)
                await sink.deliver(events_of(500))
                await sink.close()
            await eventually(lambda: len(ids(syslogd)) == 1000)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
