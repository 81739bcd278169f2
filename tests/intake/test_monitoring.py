"""A supervisor's team, whatever the site does: what is not heard is on record, and nothing is told twice."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from listener.cometd.facts import RestoredBy
from listener.errors import LoginRefused, OperationForbidden, ServerFault
from listener.intake.team import Team
from listener.model.event import Change, JournalBatch, Kind
from listener.webservices.supervisor import Person
from support.team import NAME, TeamWorld
from support.virtual import in_virtual_time

pytestmark = pytest.mark.virtual

SWITCHES = {
    "supervisor_hears_properties": (True, False),
    "supervisor_dropped_on_leave": (False, True),
    "monitoring_survives_login": (False, True),
    "monitor_again": (True, False),
    "intrude": (True, False),
    "supervisor_needs_session": (True, False),
}
COMBINATIONS = [dict(zip(SWITCHES, values, strict=True)) for values in itertools.product(*SWITCHES.values())]


def played(work: Callable[[TeamWorld], Awaitable[None]], *, team: Team | None = None, **options: object) -> TeamWorld:
    """A world in which this was done, before anybody has ended it."""
    worlds: list[TeamWorld] = []

    async def play() -> None:
        async with TeamWorld(team=team, **options) as world:
            worlds.append(world)
            await world.begin()
            await work(world)

    with capture_logs():
        in_virtual_time(play)
    return worlds[0]


async def a_day(world: TeamWorld) -> None:
    """Chats before, at and after a lost login, codes after leaving, a refused agent, and time for all to settle."""
    site = world.site
    site.chat("agent1", "C1")
    site.set("agent1", "C1", "one")
    await asyncio.sleep(400.0)
    site.set("agent1", "C1", "two")
    await asyncio.sleep(1.0)
    site.do("agent1", "Leave", "C1")
    await asyncio.sleep(20.0)
    site.set("agent1", "C1", "after leaving")
    site.do("agent1", "Complete", "C1")
    site.chat("agent2", "C2")
    site.set("agent2", "C2", "before")
    await asyncio.sleep(30.0)
    site.refuse("agent3", count=1)
    losing = asyncio.create_task(world.lose_login(5.0))
    await asyncio.sleep(3.0)
    site.set("agent2", "C2", "meanwhile")
    site.chat("agent3", "C3")
    site.set("agent3", "C3", "meanwhile")
    await losing
    await asyncio.sleep(30.0)
    site.set("agent2", "C2", "again")
    site.set("agent3", "C3", "while refused")
    await asyncio.sleep(400.0)
    site.chat("agent3", "C4")
    site.set("agent3", "C4", "granted")
    await asyncio.sleep(1.0)
    for chat, agent in (("C2", "agent2"), ("C3", "agent3"), ("C4", "agent3")):
        site.do(agent, "Complete", chat)
    await asyncio.sleep(2.5 * 3600.0)


@pytest.mark.parametrize("switches", COMBINATIONS, ids=lambda one: "".join("01"[value] for value in one.values()))
def test_whatever_the_site_does_nothing_is_missing_outside_of_the_gaps(switches):
    async def work(world: TeamWorld) -> None:
        await a_day(world)
        assert await world.missing() == []
        assert world.wire.rehandshakes == 0
        events = [one for one in await world.events() if one["kind"] is Kind.DISPOSITION]
        last: dict[str, str] = {}
        for one in events:
            if one["change"] != Change.UNCHANGED:
                assert one["disposition"] != last.get(one["chatId"])
                last[one["chatId"]] = one["disposition"]
            agents = {chat: agent for _, agent, chat, _ in world.site.said}
            assert one["agent"] in (None, agents[one["chatId"]])
        status = world.receiver.status.team
        assert (status.wanted, status.monitored) == (3, 3)
        assert status.told is switches["supervisor_hears_properties"]

    played(work, **switches)


def test_on_a_site_as_documented_two_gaps_tell_all():
    """The lost login is one of the team, the refused agent's is his own; nothing else is."""

    async def work(world: TeamWorld) -> None:
        await a_day(world)
        shown = [(one["reason"], one["closedBy"], one.get("agent")) for one in await world.gaps()]
        assert shown == [("not_monitored", "monitor", None), ("not_monitored", "monitor", "agent3")]
        team, own = await world.gaps()
        assert team["seconds"] < 40.0 + 1.0  # since the last poll before the login was lost
        assert own["from"] == team["to"]

    played(work)


def test_what_was_granted_to_a_login_is_asked_for_again_after_the_next_and_only_then():
    async def work(world: TeamWorld) -> None:
        await asyncio.sleep(2000.0)
        assert len(world.rest.asked) == 3
        await world.lose_login(1.0)
        await asyncio.sleep(2000.0)
        assert len(world.rest.asked) == 6

    played(work)


def test_agents_who_are_added_are_asked_for_and_those_who_leave_the_team_are_cancelled():
    async def work(world: TeamWorld) -> None:
        assert world.site.supervision.monitored(NAME) == ["agent1", "agent2", "agent3", "agent4"]
        world.site.center.add_agent()
        await asyncio.sleep(700.0)
        assert world.site.supervision.monitored(NAME)[-1] == "agent5"
        world.site.chat("agent1", "C1")
        await asyncio.sleep(1.0)
        world.receiver.watch(Team(agents=("agent2", "agent9")))
        await asyncio.sleep(2.0)
        assert world.site.supervision.monitored(NAME) == ["agent2"]
        assert world.site.supervision.chats_of(NAME) == []
        team = world.receiver.status.team
        assert (team.wanted, team.monitored) == (2, 1)
        assert team.problem == "does not monitor 1 of 2 agents: agent9 (the server lists no user of this name)"

    played(work, team=Team())


def test_a_group_is_a_team():
    async def work(world: TeamWorld) -> None:
        assert world.site.supervision.monitored(NAME) == ["agent1", "agent2"]

    played(work, team=Team(group="Sales"))


def test_the_next_process_goes_on_without_a_gap_where_the_login_holds():
    async def play() -> None:
        async with TeamWorld() as first:
            await first.begin()
            first.site.chat("agent1", "C1")
            first.site.set("agent1", "C1", "one")
            await asyncio.sleep(1.0)
        async with TeamWorld(journal=first.journal, site=first.site) as second:
            second.rest.session = first.rest.session
            await second.begin(RestoredBy.RESUME)
            second.site.set("agent1", "C1", "two")
            await asyncio.sleep(1000.0)
            assert await second.missing() == []
            assert "not_monitored" not in [one["reason"] for one in await second.gaps()]
            assert second.receiver.status.team.monitored == 3

    with capture_logs():
        in_virtual_time(play)


@pytest.mark.parametrize("again", [True, False])
def test_and_where_it_has_ended_the_team_has_a_gap_since_the_last_process_was_certain(again):
    async def play() -> None:
        async with TeamWorld(monitor_again=again) as first:
            await first.begin()
            await asyncio.sleep(100.0)
        await asyncio.sleep(50.0)
        first.site.living.clear()
        first.site.chat("agent1", "C1")
        first.site.set("agent1", "C1", "missed")
        async with TeamWorld(journal=first.journal, site=first.site) as second:
            await second.begin()
            await asyncio.sleep(10.0)
            assert await second.missing() == []
            assert [one["reason"] for one in await second.gaps()] == ["login", "not_monitored"]

    with capture_logs():
        in_virtual_time(play)


def test_an_agent_who_is_refused_when_a_process_is_killed_has_his_gap_from_before():
    async def play() -> None:
        async with TeamWorld() as first:
            await first.begin()
            first.site.refuse("agent3", count=2)
            await first.lose_login(1.0)
            await asyncio.sleep(3.0)  # no poll has ended since: what is stored is what was remembered at once
            first.site.chat("agent3", "C1")
            first.site.set("agent3", "C1", "missed")
        async with TeamWorld(journal=first.journal, site=first.site) as second:
            second.rest.session = first.rest.session
            await second.begin(RestoredBy.RESUME)
            second.site.do("agent3", "Complete", "C1")
            await asyncio.sleep(1000.0)
            assert await second.missing() == []
            assert [one["agent"] for one in await second.gaps() if "agent" in one] == ["agent3"]

    with capture_logs():
        in_virtual_time(play)


def test_no_stored_session_forgets_who_was_not_heard_before_the_gap_of_that_is_on_record():
    """A process may be killed between the gaps of two agents, while a journal takes its time and polls go on."""
    stored: set[str] = set()

    async def play() -> None:
        async with TeamWorld() as world:
            on_record: set[str | None] = set()
            append = world.journal.append

            async def slowly(batch: JournalBatch) -> int:
                nonlocal stored
                await asyncio.sleep(20.0)
                on_record.update(json.loads(one.data).get("agent") for one in batch.events if one.kind is Kind.GAP)
                for session in batch.sessions:
                    missing = {name for name, _ in session.team.missing} if session.team else set()
                    assert stored - missing <= on_record
                    stored = missing
                return await append(batch)

            await world.begin()
            on_record.clear()
            for agent in ("agent1", "agent2", "agent3"):
                world.site.refuse(agent, count=2)
            await world.lose_login(1.0)
            await asyncio.sleep(60.0)
            world.journal.append = slowly
            await asyncio.sleep(1000.0)
            assert on_record >= {"agent1", "agent2", "agent3"}

    with capture_logs():
        in_virtual_time(play)
    assert stored == set()


def test_a_server_that_is_busy_is_left_in_peace_and_asked_again():
    async def work(world: TeamWorld) -> None:
        world.rest.down = ServerFault("busy", http_status=429, retry_after_s=100.0)
        await world.lose_login(1.0)
        await asyncio.sleep(90.0)
        asked = len(world.rest.asked)
        assert asked <= 3 + 3
        team = world.receiver.status.team
        assert (team.monitored, dict(team.troubled)["agent1"]) == (0, "busy; asked for again in 100 s")
        world.rest.down = None
        await asyncio.sleep(900.0)
        assert world.receiver.status.team.monitored == 3
        assert await world.missing() == []

    played(work)


def test_a_refusal_that_looks_like_a_lost_login_is_not_repeated_with_each_login():
    async def work(world: TeamWorld) -> None:
        refused = 0

        async def monitor(user_id: str) -> None:
            nonlocal refused
            if user_id == world.site.center.agents["agent2"].user_id:
                refused += 1
                world.monitoring.logged_in()
                raise LoginRefused("403")

        world.rest.monitor = monitor
        await world.lose_login(1.0)
        await asyncio.sleep(250.0)
        assert refused == 1
        assert world.receiver.status.team.troubled == (("agent2", "403"),)

    played(work)


def test_without_the_role_the_team_is_not_known_and_that_is_said():
    async def work(world: TeamWorld) -> None:
        async def users() -> list[Person]:
            raise OperationForbidden("GET /api/v2/users: HTTP 403, statusCode 5")

        world.rest.users = users
        world.receiver.watch(Team())
        await asyncio.sleep(1.0)
        assert world.receiver.status.team.problem == (
            "does not know its team: GET /api/v2/users: HTTP 403, statusCode 5"
        )
        assert world.site.supervision.monitored(NAME) == ["agent1", "agent2", "agent3"]

    played(work)


def test_a_supervisor_that_is_taken_out_cancels_and_the_next_process_knows():
    async def play() -> None:
        async with TeamWorld() as first:
            await first.begin()
            await first.receiver.release()
            await asyncio.sleep(1.0)
            assert first.site.supervision.monitored(NAME) == []
        first.site.chat("agent1", "C1")
        first.site.set("agent1", "C1", "missed")
        async with TeamWorld(journal=first.journal, site=first.site) as second:
            second.rest.session = first.rest.session
            await second.begin(RestoredBy.RESUME)
            await asyncio.sleep(10.0)
            assert await second.missing() == []
            assert "not_monitored" in [one["reason"] for one in await second.gaps()]
            assert first.site.supervision.monitored(NAME) == ["agent1", "agent2", "agent3"]

    with capture_logs():
        in_virtual_time(play)


@pytest.mark.parametrize("over", [False, True])
def test_chats_that_may_go_on_unheard_are_one_gap_an_hour_unless_the_site_is_known(over):
    async def work(world: TeamWorld) -> None:
        for number in range(30):
            world.site.chat("agent1", f"C{number}")
            world.site.set("agent1", f"C{number}", "a")
            await asyncio.sleep(60.0)
            world.site.do("agent1", "Leave", f"C{number}")
            await asyncio.sleep(60.0)
            world.site.set("agent1", f"C{number}", "b")
            world.site.do("agent1", "Complete", f"C{number}")
        await asyncio.sleep(2 * 3600.0)
        gaps = await world.gaps()
        assert [one["reason"] for one in gaps] == ([] if over else ["revoked"] * 2)
        assert (await world.missing() == []) is not over

    played(work, team=Team(revoked_is_over=over), supervisor_dropped_on_leave=True)


def test_and_none_once_the_server_is_seen_to_keep_supervisors_in():
    async def work(world: TeamWorld) -> None:
        world.site.chat("agent1", "C1")
        world.site.do("agent1", "Complete", "C1")
        await asyncio.sleep(1.0)
        assert world.receiver.status.team.revoked
        world.site.chat("agent1", "C2")
        world.site.do("agent1", "Leave", "C2")
        world.site.set("agent1", "C2", "a")
        await asyncio.sleep(3 * 3600.0)
        assert await world.gaps() == []

    played(work)


def test_a_supervisor_can_be_taken_out_while_its_team_is_being_asked_for():
    async def work(world: TeamWorld) -> None:
        losing = asyncio.create_task(world.lose_login(0.5))
        await asyncio.sleep(0.505)
        await world.receiver.release()
        await losing
        await asyncio.sleep(10.0)
        assert world.site.supervision.monitored(NAME) == []
        assert not world.receiver.rested.is_set()

    played(work)
