"""Replicas that share a PostgreSQL: whichever of them is lost, frozen or cut off, others do what it did, at once."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from support.disks import Mounts
from support.faultproxy import FaultProxy
from support.ground import NAMES, Ground, Loss, Replica, spread
from support.oracle import Promise
from support.pgbouncer import PgBouncer
from support.postgresserver import PostgresServer
from support.wallclock import WallClock

WITHIN_S = 15.0  # others have taken over, on a machine that has other things to do; the simulation holds them to less
PATIENT = {"lease_s": 3.0}  # [journal] of replicas that are to outlast a machine that stands still for a moment
RATE = 100  # dispositions a second
HOUR_S = 3600
many = [pytest.mark.long, pytest.mark.timeout(1800)]
long = [pytest.mark.long, pytest.mark.timeout(300)]

StartGround = Callable[..., Awaitable[Ground]]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture
def start_ground(owned: contextlib.AsyncExitStack, tmp_path: Path, postgres: PostgresServer) -> StartGround:
    """Three replicas that share everything evenly, once that is so.

    `await start_ground(ack=False)`
    """

    async def start(**options: Any) -> Ground:
        ground = await owned.enter_async_context(Ground(tmp_path, **{"postgres": postgres, **options}))
        await ground.start()
        return ground

    return start


@contextlib.asynccontextmanager
async def link_of(name: str, server: PostgresServer) -> AsyncIterator[tuple[FaultProxy, dict[str, int]]]:
    """A link between one replica and the database."""
    async with FaultProxy(server.port) as link:
        yield link, {name: link.port}


@pytest.fixture
def dice() -> random.Random:
    """Seeded anew each time; the seed of a failed run stands in its output."""
    seed = time.time_ns()
    print(f"seed {seed}")
    return random.Random(seed)  # noqa: S311 - dice for a test


class Evictions:
    """Loses replicas, and remembers how long each loss was."""

    def __init__(self, ground: Ground, dice: random.Random) -> None:
        self.losses: dict[str, list[Loss]] = {"kill -9": [], "SIGSTOP": []}
        self._ground = ground
        self._dice = dice

    async def _lose(self, kind: str, how: Callable[[Replica], Awaitable[None]]) -> Replica:
        replica = self._dice.choice(await self._ground.holders())
        self.losses[kind].append(await self._ground.lose(replica, partial(how, replica)))
        return replica

    async def kill(self) -> None:
        """One that has an account, and start it again."""
        replica = await self._lose("kill -9", Replica.kill)
        await replica.start()
        await self._ground.fair()

    async def freeze(self) -> None:
        """One that has an account, until others have it, and a little longer."""
        replica = await self._lose("SIGSTOP", Replica.freeze)
        await asyncio.sleep(self._dice.uniform(0.0, 0.5))
        replica.thaw()
        await self._ground.fair()

    def report(self) -> str:
        """The distributions."""
        lines = []
        for kind, losses in self.losses.items():
            polls = [s for loss in losses for s in loss.polled.values()]
            commits = [s for loss in losses for s in loss.committed.values()]
            lanes = [loss.delivered for loss in losses if loss.delivered is not None]
            lines += [f"{kind}: first poll of an account by its next owner: {spread(polls)}"] if polls else []
            lines += [f"{kind}: first commit of it: {spread(commits)}"] if commits else []
            lines += [f"{kind}: first delivery by the next owner of the lane: {spread(lanes)}"] if lanes else []
            lines += [f"{kind}: everything done again: {spread([loss.whole for loss in losses])}"] if losses else []
        return "\n".join(lines)


async def nothing_was_late(ground: Ground) -> None:
    """Whoever is evicted has written, and writes no more."""
    before, after = await ground.late_writes()
    print(f"written by replicas that are gone: {before} times before, {after} after")
    assert before > 0
    assert after == 0


@pytest.mark.parametrize("times", [2, pytest.param(50, marks=many)])
async def test_whoever_is_killed_or_frozen_others_take_over_and_nothing_is_missing(
    start_ground: StartGround, dice: random.Random, times: int
):
    ground = await start_ground()
    evictions = Evictions(ground, dice)
    async with ground.stream(rate=RATE):
        for name in NAMES:
            await ground.has_written(name)
        for _ in range(times):
            await evictions.kill()
            await evictions.freeze()
    await ground.drain()
    print(evictions.report(), f"{len(ground.ledger)} published", sep="\n")
    assert ground.problems() == []
    assert ground.gaps() == []
    await nothing_was_late(ground)
    for losses in evictions.losses.values():
        assert max(loss.last_poll for loss in losses) <= WITHIN_S
        assert max(loss.whole for loss in losses) <= WITHIN_S + 1.0


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_through_a_pooler_it_is_no_different(
    start_ground: StartGround, postgres: PostgresServer, dice: random.Random
):
    with PgBouncer(postgres) as pooler:
        ground = await start_ground(ports=dict.fromkeys(NAMES, pooler.port), journal={"pooler": True})
        evictions = Evictions(ground, dice)
        async with ground.stream(rate=RATE):
            for _ in range(3):
                await evictions.kill()
                await evictions.freeze()
        await ground.drain()
        print(evictions.report(), f"{len(ground.ledger)} published", sep="\n")
        assert ground.problems() == []
        assert ground.gaps() == []
        assert max(loss.last_poll for losses in evictions.losses.values() for loss in losses) <= WITHIN_S


@pytest.mark.parametrize("ack", [False, pytest.param(True, marks=long)], ids=["no ack", "ack"])
@pytest.mark.parametrize("how", ["held", pytest.param("refused", marks=long)])
async def test_a_replica_that_cannot_reach_the_database_is_succeeded(
    start_ground: StartGround, postgres: PostgresServer, how: str, *, ack: bool
):
    """What it had under way arrives later, and is refused."""
    async with link_of("a", postgres) as (link, ports), contextlib.AsyncExitStack() as cut:
        ground = await start_ground(ports=ports, ack=ack)
        replica = ground.replicas["a"]

        async def lose() -> None:
            replica.runs = False
            if how == "held":
                cut.enter_context(link.blackhole())
            else:
                await cut.enter_async_context(link.refused())

        async with ground.stream(rate=RATE):
            await ground.has_written("a")
            loss = await ground.lose(replica, lose)
            await asyncio.sleep(1.0)
            await cut.aclose()
            await replica.daemon.logged("starting_over")
            replica.runs = True
        await ground.fair()  # what comes and goes by way of this process leaves a busy machine no time for a lease
        await ground.drain()
        print(f"first commits by the next owners: {spread(loss.committed.values())}", ground.report(), sep="\n")
        assert loss.whole <= WITHIN_S + 1.0
        await nothing_was_late(ground)
        if ack:
            assert ground.problems() == []
            assert ground.gaps() == []
        else:
            assert ground.problems(Promise.MISSING_ON_RECORD) == []
            assert max(ground.gaps()) <= WITHIN_S + 1.0


@pytest.mark.parametrize(
    "ack", [pytest.param(True, marks=long), pytest.param(False, marks=long)], ids=["ack", "no ack"]
)
async def test_a_rolling_restart_costs_nothing_with_acks_and_moments_without(start_ground: StartGround, *, ack: bool):
    ground = await start_ground(ack=ack)
    async with ground.stream(rate=RATE):
        for replica in ground.replicas.values():
            await asyncio.sleep(1.0)
            await replica.stop()
            await replica.start()
            await ground.fair()
    await ground.drain()
    print(ground.report())
    if ack:
        assert ground.problems() == []
        assert ground.gaps() == []
    else:
        assert ground.problems(Promise.MISSING_ON_RECORD) == []
        assert max(ground.gaps(), default=0.0) <= WITHIN_S


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_database_that_is_killed_twice_loses_nothing_and_evicts_nobody(start_ground: StartGround):
    with PostgresServer() as server:
        ground = await start_ground(postgres=server, journal=PATIENT)
        before = await ground.incarnations()
        async with ground.stream(rate=RATE):
            for _ in range(2):
                await asyncio.sleep(2.0)
                async with server.outage():
                    await asyncio.sleep(4.0)
                await ground.fair()
        await ground.drain()
        assert ground.problems() == []
        assert ground.gaps() == []
        assert await ground.incarnations() == before, "nobody was evicted"


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", ["tables", "log"])
async def test_a_database_without_room_stops_the_acknowledgements_and_nothing_is_missing(
    start_ground: StartGround, owned: contextlib.AsyncExitStack, open_folder: Path, what: str
):
    """Without room for its tables PostgreSQL refuses; without room for its log it ends."""
    mounts = await owned.enter_async_context(Mounts())
    disk = await mounts.disk(open_folder / "disk", mib=200)
    with PostgresServer(disk=disk) as server:
        ground = await start_ground(postgres=server)
        async with ground.stream(rate=RATE):
            await asyncio.sleep(1.0)
            with disk.full():
                if what == "log":
                    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                        while server.lives():  # some of the next pieces of the log are there already
                            await server.fetch("SELECT txid_current()")
                            await server.fetch("SELECT pg_switch_wal()")
                await asyncio.sleep(8.0)
                stood = ground.book.sequence
                await asyncio.sleep(1.0)
                assert ground.book.sequence == stood, "nothing can be written"
            assert server.lives() == (what == "tables")
            if not server.lives():
                await asyncio.to_thread(server.start)
            await ground.fair()
            await asyncio.sleep(1.0)
        await ground.drain()
        assert ground.book.sequence > stood
        assert ground.problems() == []
        assert ground.gaps() == []


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_what_was_acknowledged_is_on_the_standby_that_takes_over(start_ground: StartGround):
    async with contextlib.AsyncExitStack() as stack:
        first = stack.enter_context(PostgresServer(synchronous_standby_names="standby", synchronous_commit="on"))
        second = stack.enter_context(PostgresServer(follows=first))
        address = await stack.enter_async_context(FaultProxy(first.port))
        ground = await start_ground(postgres=first, port=address.port)
        async with ground.stream(rate=RATE):
            await asyncio.sleep(2.0)
            await asyncio.to_thread(first.kill)
            await second.execute("SELECT pg_promote()")
            address.lead_to(second.port)
            await ground.fair()
            await asyncio.sleep(1.0)
        await ground.drain()
        assert ground.problems() == []
        assert ground.gaps() == []


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_a_wall_clock_that_is_an_hour_off_evicts_nobody_and_no_gap_is_longer_than_it_was(
    start_ground: StartGround, tmp_path: Path, faketime: Path, dice: random.Random
):
    clock = WallClock(faketime, tmp_path)
    clock.jump(HOUR_S)
    ground = await start_ground(ack=False, env={"b": clock.env}, journal=PATIENT)
    before = await ground.incarnations()
    async with ground.stream(rate=RATE):
        await asyncio.sleep(5.0)
        assert await ground.incarnations() == before
        for name in ("a", "b"):
            replica = ground.replicas[name]
            loss = await ground.lose(replica, replica.kill)
            print(f"{name}: {spread(loss.polled.values())}")
            await replica.start()
            await ground.fair()
    await ground.drain()
    print(ground.report())
    assert ground.gaps()
    assert min(ground.gaps()) > 0.0
    assert max(ground.gaps()) <= WITHIN_S + 1.0
