"""A supervisor's session: what it stores for the next process, and what it does where an account begins anew."""

import asyncio

import pytest
from structlog.testing import capture_logs

from listener.cometd.facts import RestoredBy
from listener.intake.team import Team
from support.team import NAME, TeamWorld
from support.virtual import in_virtual_time

pytestmark = pytest.mark.virtual


def test_how_the_team_stands_is_stored_at_once_beside_the_session():
    async def play() -> None:
        async with TeamWorld() as world:
            await world.begin()
            world.site.chat("agent1", "C1")
            world.site.do("agent1", "Complete", "C1")
            await asyncio.sleep(0.1)
            team = (await world.journal.sessions(None))[NAME].team
            assert (team.behind, team.untold is not None, team.revoked is not None) == (None, True, True)

    with capture_logs():
        in_virtual_time(play)


def test_without_anybody_monitored_there_is_nothing_to_store():
    async def play() -> None:
        async with TeamWorld(supervisor_needs_session=True) as world:
            world.rest.in_contact_center = False
            await world.begin()
            await asyncio.sleep(60.0)
            assert (await world.journal.sessions(None))[NAME].team is None
            assert world.receiver.status.team.monitored == 0
            assert await world.gaps() == []

    with capture_logs():
        in_virtual_time(play)


def test_a_server_that_tells_no_properties_is_noticed_and_causes_no_new_session():
    async def play() -> None:
        async with TeamWorld(supervisor_hears_properties=False) as world:
            await world.begin()
            world.site.chat("agent1", "C1")
            for number in range(20):
                world.site.set("agent1", "C1", f"code {number}")
                await asyncio.sleep(300.0)
            assert world.wire.rehandshakes == 0
            assert {one["reason"] for one in await world.gaps()} == {"not_told"}
            assert await world.missing() == []
            assert "is not told" in world.receiver.status.team.problem

    with capture_logs():
        in_virtual_time(play)


@pytest.mark.parametrize(("over", "noted"), [(False, True), (True, False)])
def test_a_gap_may_hide_that_the_supervisor_was_taken_out_of_a_chat_that_goes_on(over: bool, noted: bool):
    async def play() -> None:
        async with TeamWorld(team=Team(revoked_is_over=over)) as world:
            await world.begin()
            since = world.wire.now()
            world.wire.down()
            await asyncio.sleep(4.0)
            world.wire.up(RestoredBy.HANDSHAKE, since=since)
            await asyncio.sleep(1.0)
            assert world.receiver.status.team.revoked is noted
            assert ((await world.journal.sessions(None))[NAME].team.revoked is not None) is noted

    with capture_logs():
        in_virtual_time(play)


def test_a_subscription_that_dies_is_found_as_an_accounts_is():
    async def play() -> None:
        async with TeamWorld() as world:
            await world.begin()
            world.site.chat("agent1", "C1")
            world.site.set("agent1", "C1", "told")
            await asyncio.sleep(400.0)
            world.site.listener = None
            world.site.set("agent1", "C1", "untold")
            await asyncio.sleep(400.0)
            assert [one["reason"] for one in await world.gaps()] == ["subscription_lost"]
            assert await world.missing() == []

    with capture_logs():
        in_virtual_time(play)
