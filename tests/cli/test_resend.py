"""`resend`: with a daemon, without one, and where replicas share the journal."""

import asyncio

import pytest

from listener.daemon.control import CancelResend, ControlServer, LaneList, Resend, ResendCancelled, ResendEvents
from listener.journal.sqlite import views
from listener.model.event import JournalBatch
from listener.model.replica import Offer
from support.config import write_config
from support.events import disposition_event
from support.sharing import Sharing

ALL = ("--from", "1970-01-01", "--to", "2100-01-01T00:00:00Z")


@pytest.fixture
def configured(letters, tmp_path):
    """A configuration of a journal with four events, all delivered to `crm`, which has three dead letters."""
    return write_config(
        tmp_path,
        server={"url": "http://127.0.0.1:9"},
        accounts=[{"username": "agent1", "password": "pa55word"}],
        journal={"path": str(letters)},
        sinks={"crm": {"type": "stdout"}, "audit": {"type": "file", "path": "audit.jsonl"}},
    )


def said(invoke, *words, status=0):
    result = invoke("resend", *words)
    assert (result.exit_code, result.stderr if not status else "") == (status, "")
    return result.stdout if not status else result.stderr


def state(letters):
    return views.stats(letters).lanes.get("crm")


def test_without_a_daemon_the_next_one_does_it(invoke, configured, letters):
    what = "4 events, sequences 1 to 4,"
    assert said(invoke, "--sink", "crm", "-c", configured, *ALL, "--dry-run") == (
        f"{what} would be delivered to crm again\n"
    )
    assert state(letters) is None
    assert said(invoke, "--sink", "crm", "-c", configured, *ALL) == (
        f"{what} will be delivered to crm again: no daemon is running, the next one delivers them\n"
    )
    assert state(letters).resend_left == 4
    assert "4 to be delivered again" in invoke("sinks", "list", "-c", configured).stdout
    assert "4 events are already to be delivered" in said(invoke, "--sink", "crm", "-c", configured, *ALL, status=1)
    cancel = ("--sink", "crm", "-c", configured, "--cancel")
    assert said(invoke, *cancel) == "4 events less to be delivered to crm again\n"
    assert state(letters).resend_left == 0
    assert said(invoke, *cancel) == "nothing was being resent to crm\n"


def test_what_was_not_recorded_then_is_nothing(invoke, configured):
    text = said(invoke, "--sink", "crm", "-c", configured, "--from", "2000-01-01", "--to", "2000-01-02")
    assert text == "crm got no events that were recorded then\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--sink", "audit", *ALL), "sink 'audit' is an audit trail, which holds each event once"),
        (("--sink", "crn", *ALL), "this journal knows no sink 'crn'"),
    ],
)
def test_what_cannot_be_is_told(invoke, configured, words, text):
    assert text in said(invoke, "-c", configured, *words, status=1)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--from", "2h"), "give --from and --to"),
        (("--from", "1h", "--to", "2h"), "--from is later than --to"),
        (("--from", "soon", "--to", "0s"), "is not a time"),
        (("--cancel", "--from", "2h"), "--cancel goes with --sink alone"),
    ],
)
def test_who_resends_says_what(invoke, configured, words, text):
    result = invoke("resend", "--sink", "crm", "-c", configured, *words)
    assert result.exit_code == 2
    assert text in result.stderr


def test_without_a_daemon_a_journal_alone_does_not_tell_what_kind_of_sink_it_is(invoke, letters):
    assert "give --config" in said(invoke, "--sink", "crm", "--path", letters, *ALL, status=1)


async def test_a_daemon_is_told_to(invoke, configured, letters):
    told = []

    async def obey(command):
        told.append(command)
        if isinstance(command, CancelResend):
            return ResendCancelled(sink="crm", left=1)
        if isinstance(command, ResendEvents):
            return Resend(sink="crm", events=1, after=3, through=4, waiting=2, oldest_ms=0)
        return LaneList(lanes=())

    server = ControlServer(journal=letters, execute=obey)
    await server.start()
    assert await asyncio.to_thread(said, invoke, "--sink", "crm", "-c", configured, *ALL) == (
        "the journal has events since 1970-01-01T00:00:00.000Z: those before are deleted\n"
        "2 events of that time have not come to crm yet, and will in their turn\n"
        "1 event, sequences 4 to 4, will be delivered to crm again\n"
    )
    text = await asyncio.to_thread(said, invoke, "--sink", "crm", "--path", letters, "--cancel")
    await server.stop()
    assert text == "1 event less to be delivered to crm again\n"
    assert told == [
        ResendEvents(name="crm", from_ms=0, to_ms=4_102_444_800_000),
        CancelResend(name="crm"),
    ]


@pytest.fixture
def sharing(monkeypatch):
    """Three events; `crm` has got two of them."""
    sharing = Sharing(monkeypatch)

    async def fill(database):
        joined = await database.join("node-a", version="1", lease_s=60.0)
        events = tuple(disposition_event(number) for number in (1, 2, 3))
        await database.append(joined.incarnation, 1, JournalBatch(events=events), {}, {})
        await database.advance(joined.incarnation, "crm", 2, [])
        await database.leave(joined.incarnation)

    sharing.run(fill)
    return sharing


def test_where_replicas_share_the_journal_it_is_an_order_to_who_has_the_sink(invoke, shared_config, sharing):
    words = ("--sink", "crm", "-c", shared_config, *ALL)
    what = "1 event of that time has not come to crm yet, and will in their turn\n2 events, sequences 1 to 2,"
    assert said(invoke, *words, "--dry-run") == f"{what} would be delivered to crm again\n"
    assert said(invoke, *words) == f"{what} will be delivered to crm again as soon as a replica has it\n"

    async def own(database):
        joined = await database.join("node-b", version="1", lease_s=60.0)
        await database.offer(joined.incarnation, [Offer(duty="lane/crm")])
        await database.beat(joined.incarnation, seen=0)
        return await database.beat(joined.incarnation, seen=9)

    assert [(one.duty, one.what) for one in sharing.run(own).orders] == [("lane/crm", "resend 0 2")]
    assert said(invoke, *words) == f"{what} will be delivered to crm again by replica node-b\n"
    assert said(invoke, *words[:4], "--cancel") == "nothing was being resent to crm\n"
