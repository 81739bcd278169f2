"""What a replica learns of its duties by its beats, and when it may be certain of them."""

import asyncio

import pytest

from listener.errors import JournalError, JournalFenced, JournalLocked
from listener.model.replica import Changes
from support.replicas import cluster
from support.virtual import in_virtual_time

ACCOUNTS = tuple(f"account/{n}" for n in range(4))


def test_what_is_offered_is_given_once():
    async def work():
        async with cluster() as world:
            one = await world.started("one", *ACCOUNTS)
            assert await one.next_changes() == Changes(given=ACCOUNTS)
            assert set(one.membership.held) == set(ACCOUNTS)
            with pytest.raises(TimeoutError):
                await one.next_changes()

    in_virtual_time(work)


def test_the_age_of_a_beat_grows_while_none_is_answered():
    async def work():
        async with cluster() as world:
            one = await world.started("one", *ACCOUNTS)
            await asyncio.sleep(2.0)
            assert 0.0 <= one.membership.beat_age_s() < 0.4
            one.line.cut = True
            await asyncio.sleep(5.0)
            assert 5.0 <= one.membership.beat_age_s() < 5.4
            await one.membership.leave()
            assert one.membership.beat_age_s() == float("inf")

    in_virtual_time(work)


def test_what_is_beyond_the_share_is_wanted_back_once_and_goes_to_the_other_when_it_is_released():
    async def work():
        async with cluster() as world:
            one = await world.started("one", *ACCOUNTS)
            await one.next_changes()
            two = await world.started("two", *ACCOUNTS)
            wanted = (await one.next_changes()).wanted_back
            assert len(wanted) == 2
            with pytest.raises(TimeoutError):
                await one.next_changes()
            await one.membership.release(wanted)
            assert set(one.membership.held) == set(ACCOUNTS) - set(wanted)
            assert set((await two.next_changes()).given) == set(wanted)

    in_virtual_time(work)


def test_who_is_silent_for_a_lease_is_fenced_and_the_other_has_its_duties():
    async def work():
        async with cluster() as world:
            one = await world.started("one", *ACCOUNTS)
            await one.next_changes()
            two = await world.started("two", *ACCOUNTS)
            one.line.cut = True
            await asyncio.sleep(1.2)
            assert not one.membership.is_certain()
            given = []
            while len(given) < len(ACCOUNTS):
                given += (await two.next_changes()).given
            assert sorted(given) == sorted(ACCOUNTS)
            waiting = [asyncio.create_task(one.membership.certainty()), asyncio.create_task(one.journal.wait_beyond(9))]
            one.line.cut = False
            for task in (*waiting, one.tasks[0]):
                with pytest.raises(JournalFenced):
                    await task
            with pytest.raises(JournalFenced):
                await one.membership.changes()

    in_virtual_time(work)


def test_it_is_certain_only_while_nobody_may_take_over_however_slow_the_answers_are():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            certain = 0
            for step in range(1000):
                one.line.answer_s = (0.001, 0.3, 0.6, 0.9)[step // 250]
                one.line.cut = step % 250 > 200
                if one.membership.is_certain():
                    certain += 1
                    assert world.database.replicas()[0].state == "alive"
                await asyncio.sleep(0.01)
            assert 500 < certain < 900
            one.line.cut, one.line.answer_s = False, 0.001
            async with asyncio.timeout(1):
                await one.membership.certainty()

    in_virtual_time(work)


def test_a_lost_answer_costs_nothing():
    async def work():
        async with cluster() as world:
            one = world.replica("one")
            for name in ("join", "offer", "beat", "release", "leave"):
                one.line.lose_answers[name] = 1
            await one.start(*ACCOUNTS)
            assert (await one.next_changes()).given == ACCOUNTS
            await one.membership.release(ACCOUNTS[:1])
            assert (await one.next_changes()).given == ACCOUNTS[:1], "nobody else wants it"
            await one.membership.leave()
            assert world.database.replicas() == []
            await one.tasks[0]

    in_virtual_time(work)


def test_an_order_is_told_once_and_stays_until_it_is_carried_out():
    async def work():
        async with cluster() as world:
            one = await world.started("one", "lane/crm")
            await one.next_changes()
            assert await one.membership.order("lane/crm", "resume") == "one"
            (order,) = (await one.next_changes()).orders
            assert (order.duty, order.what) == ("lane/crm", "resume")
            with pytest.raises(TimeoutError):
                await one.next_changes()
            assert world.database.beat(1, seen=0).orders == (order,), "it may not be done yet"
            one.membership.carried_out(order)
            await asyncio.sleep(1)
            assert world.database.beat(1, seen=0).orders == ()

    in_virtual_time(work)


def test_an_order_that_was_told_is_told_again_to_whoever_has_its_duty_next():
    async def work():
        async with cluster() as world:
            one = await world.started("one", "lane/crm")
            await one.next_changes()
            await one.membership.order("lane/crm", "resume")
            (order,) = (await one.next_changes()).orders
            await one.membership.release(["lane/crm"])
            again = await one.next_changes()
            while not again.orders:
                again = await one.next_changes()
            assert again.orders == (order,), "nobody else wants it"
            two = await world.started("two", "lane/crm")
            one.line.cut = True
            told = await two.next_changes()
            while not told.orders:
                told = await two.next_changes()
            assert told.orders == (order,)

    in_virtual_time(work)


def test_reports_are_sent_when_they_change():
    async def work():
        async with cluster() as world:
            one = await world.started("one", "lane/crm")
            await one.next_changes()
            one.membership.report("lane/crm", b"{}")
            one.membership.report("lane/other", b"{}")
            one.membership.report_process(b"[]")
            one.line.lose_requests["beat"] = 1
            await asyncio.sleep(2)
            assert [(one.duty, one.report) for one in world.database.duties()] == [("lane/crm", b"{}")]
            assert world.database.replicas()[0].report == b"[]"

    in_virtual_time(work)


def test_who_leaves_gives_everything_up_at_once_and_never_fails():
    async def work():
        async with cluster() as world:
            one = await world.started("one", *ACCOUNTS)
            two = await world.started("two", *ACCOUNTS)
            await one.membership.leave()
            await one.membership.leave()
            await one.tasks[0]
            await asyncio.sleep(0.4)
            assert set(two.membership.held) == set(ACCOUNTS)
            two.line.refuse["leave"] = JournalError("database: gone")
            await two.membership.leave()
            with pytest.raises(JournalFenced):
                await two.membership.changes()

    in_virtual_time(work)


def test_all_of_it_is_wanted_back_of_one_that_drains():
    async def work():
        async with cluster() as world:
            one = await world.started("one", *ACCOUNTS)
            await one.next_changes()
            assert world.database.drain("one", draining=True)
            assert (await one.next_changes()).wanted_back == ACCOUNTS
            assert one.membership.beaten.draining

    in_virtual_time(work)


def test_another_process_of_the_name_is_told_so_and_evicts_nobody():
    async def work():
        async with cluster() as world:
            one = await world.started("one", *ACCOUNTS)
            await one.next_changes()
            twin = world.replica("one")
            with pytest.raises(JournalLocked, match="another process is replica one"):
                await twin.start()
            await asyncio.sleep(2)
            assert one.membership.is_certain()
            await one.membership.leave()
            async with asyncio.timeout(0.1):
                await twin.start()

    in_virtual_time(work)


@pytest.mark.parametrize("after_s", [0.0, 0.2, 0.9, 1.5])
def test_who_comes_again_joins_once_its_predecessor_can_be_certain_of_nothing(after_s):
    async def work():
        async with cluster() as world:
            one = await world.started("one", *ACCOUNTS)
            await one.next_changes()
            one.line.cut = True
            await asyncio.sleep(after_s)
            again = world.replica("one")
            starting = asyncio.create_task(again.start())
            while not again.membership.is_certain():
                sure = one.membership.is_certain()
                await asyncio.sleep(0.01)
            assert not sure
            await starting
            assert asyncio.get_running_loop().time() < max(after_s, 1.0) + 0.5

    in_virtual_time(work)
