"""What the shared journal has beside the contract in contracts/test_journal.py."""

import asyncio

import pytest
from structlog.testing import capture_logs

from listener.errors import JournalError, JournalFenced, JournalFull, JournalStale, JournalUncertain
from listener.journal.shared import Membership, SharedJournal
from listener.model.event import JournalBatch, LaneState, LastValue, SessionState
from listener.model.holes import JUMP
from listener.runtime.host import THIS_HOST
from listener.testing import MemoryConnection, MemoryDatabase, sample_event, sample_gap
from support.replicas import cluster
from support.virtual import in_virtual_time

CHAT = "0000Na9B26EF003M"


def events(*numbers):
    """A batch of the sample chat, which is not known, and each of whose events changes its value."""
    return JournalBatch(events=tuple(sample_gap(number) for number in numbers))


def value(text, chat=CHAT):
    return LastValue(chat_id=chat, key="DispositionCode", value=text, account="a", server_time_ms=None, received_ms=1)


def change(number, text, *, new=False):
    return JournalBatch(events=(sample_event(number),), values=(value(text),), new_chats=(CHAT,) if new else ())


def session(host, *, age_ms=0):
    return SessionState(
        account="agent1",
        url="http://127.0.0.1",
        topic="/v2/me/chats",
        client_id="client",
        connection_type="long-polling",
        ack=1,
        seen_ms=host.clock.now_ms() - age_ms,
        seen_monotonic_ms=round(host.clock.monotonic_s() * 1000) - age_ms,
        boot=host.boot_id,
    )


def stored(world):
    return [event.id for event in world.database.store.read(0, 1000)]


@pytest.mark.parametrize("lost", ["lose_requests", "lose_answers"])
def test_an_append_is_repeated_until_it_is_certain_and_stored_once(lost):
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            getattr(one.line, lost)["append"] = 3
            appending = asyncio.create_task(one.journal.append(events(1, 2)))
            await asyncio.sleep(0.3)
            assert one.journal.trouble == "database: no answer"
            assert await appending == 2
            assert one.journal.trouble is None
            assert stored(world) == ["event-1", "event-2"]
            assert await one.journal.append(events(3)) == 3

    in_virtual_time(work)


def test_what_is_refused_after_a_lost_answer_does_not_settle_it():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            one.line.lose_answers["append"] = 1
            appending = asyncio.create_task(one.journal.append(events(1)))
            await asyncio.sleep(0.1)
            one.line.refuse["append"] = JournalFull("database: no room")
            await asyncio.sleep(5)
            assert not appending.done()
            assert one.journal.trouble == "database: no room"
            one.line.refuse.clear()
            assert await appending == 1
            assert stored(world) == ["event-1"]

    in_virtual_time(work)


def test_what_is_refused_at_once_is_not_stored():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            one.line.refuse["append"] = JournalFull("database: no room")
            with pytest.raises(JournalFull):
                await one.journal.append(events(1))
            one.line.refuse.clear()
            assert await one.journal.append(events(2)) == 1
            assert stored(world) == ["event-2"]

    in_virtual_time(work)


def test_an_append_that_is_open_when_it_is_fenced_confirms_nothing():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            two = await world.started("two")
            one.line.cut = True
            appending = asyncio.create_task(one.journal.append(events(1)))
            await asyncio.sleep(3)
            one.line.cut = False
            with pytest.raises(JournalFenced):
                await appending
            assert await two.journal.append(events(2)) == 1

    in_virtual_time(work)


def test_a_refused_write_fences_the_membership_at_once():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            world.database.join("one", version="1", lease_s=1.0)
            with pytest.raises(JournalFenced):
                await one.journal.advance("crm", 1)
            assert one.membership.fenced.is_set()
            with pytest.raises(JournalFenced):
                await one.tasks[0]

    in_virtual_time(work)


def test_a_start_that_takes_longer_than_a_lease_is_not_taken_for_gone():
    """On a slow network, or where the machine has much to do, what is looked at when it has joined takes its time."""

    async def work():
        async with cluster() as world:
            other = await world.started("other", "account/a", "account/b")
            slow = world.replica("slow")
            slow.line.delay_s, slow.line.answer_s = 0.1, 0.5
            await slow.start("account/a", "account/b")
            first = slow.membership.incarnation
            await other.membership.release((await other.next_changes()).wanted_back)
            given = (await slow.next_changes()).given
            assert len(given) == 1
            assert (slow.membership.incarnation, slow.membership.fenced.is_set()) == (first, False)

    in_virtual_time(work)


def test_a_start_that_failed_is_made_again_and_forgets_no_loss():
    async def work():
        async with cluster() as world:
            one = world.replica("one")
            one.journal = SharedJournal(
                database=one.connection, membership=one.membership, host=one.host, known_sequence=5
            )
            one.line.refuse["stats"] = JournalError("database: the connection was ended")
            with pytest.raises(JournalError, match="was ended"):
                await one.journal.open()
            one.line.refuse.clear()
            other = await world.started("other")
            await other.journal.append(events(1))
            await one.journal.open()
            assert len(await one.journal.pending_damages()) == 1

    in_virtual_time(work)


def test_closing_leaves_an_open_append_uncertain():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            one.line.cut = True
            appending = asyncio.create_task(one.journal.append(events(1)))
            await asyncio.sleep(0.5)
            await one.journal.close()
            with pytest.raises(JournalUncertain):
                await appending

    in_virtual_time(work)


def test_a_chat_that_another_replica_has_written_is_stale():
    async def work():
        async with cluster() as world:
            one, two = await world.started("one"), await world.started("two")
            await one.journal.append(change(1, "A", new=True))
            assert [found.value for found in await two.journal.last_values([CHAT])] == ["A"]
            await two.journal.append(change(2, "B"))
            with pytest.raises(JournalStale) as refused:
                await one.journal.append(change(3, "C"))
            assert refused.value.chat_ids == (CHAT,)
            with pytest.raises(JournalStale):
                await one.journal.append(change(3, "C"))
            assert [found.value for found in await one.journal.last_values([CHAT])] == ["B"]
            assert await one.journal.append(change(3, "C")) == 3

    in_virtual_time(work)


def test_a_chat_that_nobody_asked_about_is_stale():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            with pytest.raises(JournalStale):
                await one.journal.append(change(1, "A"))
            assert await one.journal.last_values([CHAT]) == []
            assert await one.journal.append(change(1, "A")) == 1

    in_virtual_time(work)


def test_values_that_are_told_beside_an_append_leave_nothing_certain():
    """Whoever asked may have had newer ones by then, and not have taken these."""

    async def work():
        async with cluster() as world:
            one, two = await world.started("one"), await world.started("two")
            await one.journal.append(change(1, "A", new=True))
            await two.journal.last_values([CHAT])
            await two.journal.append(change(2, "B"))
            await one.journal.last_values([CHAT])
            with pytest.raises(JournalStale):
                await one.journal.append(change(3, "C"))

    in_virtual_time(work)


def test_events_of_others_are_heard_of_and_read():
    async def work():
        async with cluster() as world:
            one, two = await world.started("one"), await world.started("two")
            await one.journal.append(events(1))
            waiting = asyncio.create_task(one.journal.wait_beyond(1))
            await two.journal.append(events(2, 3))
            async with asyncio.timeout(0.1):
                await waiting
            assert one.journal.last_sequence == 3
            await one.journal.append(events(4))
            assert [event.sequence for event in await one.journal.read(0, 10)] == [1]
            assert [event.sequence for event in await one.journal.read(1, 10)] == [2, 3, 4]
            reads = one.line.calls["read"]
            assert [event.sequence for event in await one.journal.read(1, 10)] == [2, 3, 4], "now in memory"
            assert one.line.calls["read"] == reads
            one.line.refuse["heard"] = JournalError("a hint that does not come")
            await two.journal.append(events(5))
            async with asyncio.timeout(0.4):
                await one.journal.wait_beyond(4)

    in_virtual_time(work)


def test_nothing_is_read_from_memory_while_it_is_uncertain_whether_this_is_a_replica():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            await one.journal.append(events(1))
            assert len(await one.journal.read(0, 10)) == 1
            one.line.cut = True
            await asyncio.sleep(1.5)
            with pytest.raises(JournalUncertain):
                await one.journal.read(0, 10)

    in_virtual_time(work)


def test_a_session_comes_with_its_moment_by_the_clocks_of_the_host_that_asks():
    async def work():
        async with cluster() as world:
            one = await world.started("one", off_s=3600.0)
            two = await world.started("two", off_s=-3600.0)
            await one.journal.append(JournalBatch(sessions=(session(one.host, age_ms=500),)))
            await asyncio.sleep(2)
            found = (await two.journal.sessions(["agent1"]))["agent1"]
            assert found.boot == two.host.boot_id
            assert found.seen_ms == pytest.approx(two.host.clock.now_ms() - 2_500, abs=20)
            assert found.seen_monotonic_ms == pytest.approx(two.host.clock.monotonic_s() * 1000 - 2_500, abs=20)

    in_virtual_time(work)


def test_commits_are_told():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            await one.journal.append(events(1, 2))
            await one.journal.advance("crm", 1)
            append, advance = one.commits
            assert (append.events, advance.events, advance.waited_s) == (2, 0, None)
            assert append.waited_s == pytest.approx(0.002)

    in_virtual_time(work)


def test_a_database_that_ends_before_what_was_durable_has_lost_what_came_after_its_newest_event():
    """A standby that lacked it was promoted, or a backup was restored."""

    async def work():
        async with cluster() as world:
            one = await world.started("one")
            await one.journal.append(events(1, 2))
            newest_ms = (await one.journal.read(1, 1))[0].received_ms
            two = MemoryConnection(world.database)
            membership = Membership(database=two, name="two", version="1")
            again = SharedJournal(database=two, membership=membership, known_sequence=5)
            with capture_logs() as logs:
                await again.open()
            assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["journal_lost"]
            (damage,) = await again.pending_damages()
            assert (damage.set_aside, damage.stretches) == ("", ((newest_ms, damage.at_ms),))
            assert again.last_sequence == again.known_sequence == 5 + JUMP
            await again.settle_damages([damage])
            assert (await again.pending_damages(), again.known_sequence) == ([], 5 + JUMP)
            await again.close()

    in_virtual_time(work)


async def test_an_audit_file_that_goes_on_further_than_the_database_tells_of_a_loss_until_that_is_on_record():
    """Nobody has lived through it: the schema was dropped, and all replicas were started anew."""
    database = MemoryDatabase(THIS_HOST.time_s)

    async def found(came_ms, *, dies=False):
        one = MemoryConnection(database)
        membership = Membership(database=one, name="one", version="1")
        journal = SharedJournal(database=one, membership=membership, known=lambda: (26, came_ms))
        await journal.open()
        damages, known = await journal.pending_damages(), journal.known_sequence
        if damages and not dies:
            await journal.settle_damages(damages)
            await journal.append(events(1))
        await membership.leave()
        await journal.close()
        return [one.stretches[0][0] for one in damages], known

    first, newest_ms = 1_000, sample_gap(1).received_ms
    assert await found(first, dies=True) == ([first], 26 + JUMP)
    assert await found(first) == ([first], 26 + JUMP)
    assert await found(first) == ([], 27 + JUMP)
    assert await found(newest_ms) == ([], 27 + JUMP)


def test_a_database_that_has_what_was_durable_has_lost_nothing():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            await one.journal.append(events(1))
            two = MemoryConnection(world.database)
            membership = Membership(database=two, name="two", version="1")
            again = SharedJournal(database=two, membership=membership, known_sequence=1)
            await again.open()
            assert await again.pending_damages() == []
            await again.close()

    in_virtual_time(work)


def test_a_command_reads_and_marks_but_appends_nothing():
    async def work():
        async with cluster() as world:
            one = await world.started("one")
            await one.journal.append(events(1))
            command = SharedJournal(database=MemoryConnection(world.database))
            await command.open()
            assert command.last_sequence == 1
            assert len(await command.read(0, 10)) == 1
            await command.store_lane_state(LaneState(sink="crm"))
            for write in (command.append(events(2)), command.advance("crm", 1)):
                with pytest.raises(JournalError, match="only a replica"):
                    await write
            await command.close()
            assert [replica.name for replica in world.database.replicas()] == ["one"]

    in_virtual_time(work)
