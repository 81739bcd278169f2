"""What there is to do by a configuration, and a process that does all of it."""

import asyncio

from listener.config.settings import Settings
from listener.daemon.duties import EveryDuty, named, offers_of
from listener.model.replica import ACCOUNT, LANE, Offer

SETTINGS = Settings.model_validate(
    {
        "server": {"url": "http://h"},
        "accounts": [{"username": "agent1", "password": "x"}, {"username": "agent2", "password": "x"}],
        "sinks": {"audit": {"type": "file", "path": "a", "on": "host1"}, "crm": {"type": "stdout"}},
    }
)


def test_every_account_and_every_sink_is_a_duty_and_a_sink_may_be_pinned():
    assert offers_of(SETTINGS) == (
        Offer(duty="lane/audit", only="host1"),
        Offer(duty="lane/crm"),
        Offer(duty="account/agent1"),
        Offer(duty="account/agent2"),
        Offer(duty="housekeeping"),
    )


def test_names_are_told_by_kind():
    duties = ["lane/crm", "account/lane/x", "housekeeping"]
    assert (named(LANE, duties), named(ACCOUNT, duties)) == (["crm"], ["lane/x"])


async def test_what_the_only_process_offers_is_given_once_and_stays_its_own_until_it_is_released():
    duties = EveryDuty()
    await duties.offer(offers_of(SETTINGS))
    assert list(duties.held) == [offer.duty for offer in offers_of(SETTINGS)]
    assert (await duties.changes()).given == tuple(duties.held)
    waiting = asyncio.ensure_future(duties.changes())
    await asyncio.sleep(0)
    assert not waiting.done()
    await duties.offer([Offer(duty="lane/new")])
    assert (await waiting).given == ("lane/new",)
    assert "lane/crm" in duties.held
    await duties.release(["lane/crm", "lane/unknown"])
    assert "lane/crm" not in duties.held
    await duties.offer([Offer(duty="lane/crm")])
    assert (await duties.changes()).given == ("lane/crm",)


async def test_it_is_certain_and_has_nobody_to_tell_or_to_order():
    duties = EveryDuty()
    assert duties.is_certain()
    await duties.certainty()
    duties.report("lane/crm", b"{}")
    duties.report_process(b"{}")
    assert await duties.order("lane/crm", "resume") is None
    await duties.leave()
    assert not duties.is_shared
