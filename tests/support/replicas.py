"""Replicas over one database, each on a line of its own that can be cut, slowed and made to lose answers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from listener.errors import JournalError, JournalFenced, JournalUncertain
from listener.journal.shared import Membership, SharedJournal
from listener.model.replica import Changes, Offer
from listener.testing import MemoryConnection, MemoryDatabase
from support.virtual import LoopClock, virtual_host

if TYPE_CHECKING:
    from listener.journal.shared.database import Database
    from listener.model.event import Committed
    from listener.runtime.host import Host


class Line:
    """What the calls of one replica go through.

    Attributes:
        delay_s: of the request.
        answer_s: likewise of the answer.
        lose_requests, lose_answers: how many of each name get lost: the caller finds out after `silence_s`.
        late: how many requests of each name get lost and arrive `late_s` after the caller has found out.
        refuse: what calls of a name are refused with, nothing being done.
        cut: whether nothing gets through.
        calls: how often each was asked, in whatever way it ended.
    """

    def __init__(self) -> None:
        self.delay_s = self.answer_s = 0.001
        self.silence_s = 0.2
        self.late_s = 0.7
        self.lose_requests: Counter[str] = Counter()
        self.lose_answers: Counter[str] = Counter()
        self.late: Counter[str] = Counter()
        self.refuse: dict[str, JournalError] = {}
        self.cut = False
        self.calls: Counter[str] = Counter()
        self.under_way: set[asyncio.Task[None]] = set()

    async def carry(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of a call, if it gets here."""
        self.calls[name] += 1
        await asyncio.sleep(self.delay_s)
        if name in self.refuse:
            raise self.refuse[name]
        if _takes(self.late, name):
            task = asyncio.create_task(self._arrive(call))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)
            await self._silence()
        if self.cut or _takes(self.lose_requests, name):
            await self._silence()
        answer = await call()
        await asyncio.sleep(self.answer_s)
        if self.cut or _takes(self.lose_answers, name):
            await self._silence()
        return answer

    async def _arrive(self, call: Callable[[], Awaitable[Any]]) -> None:
        await asyncio.sleep(self.silence_s + self.late_s)
        with suppress(JournalError, JournalFenced):
            await call()

    async def _silence(self) -> None:
        await asyncio.sleep(self.silence_s)
        raise JournalUncertain("database: no answer")


def _takes(lost: Counter[str], name: str) -> bool:
    if lost[name] <= 0:
        return False
    lost[name] -= 1
    return True


class Lined:
    """A database at the end of a line."""

    def __init__(self, database: "Database", line: Line) -> None:
        self._database = database
        self._line = line

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Each of its calls."""
        call = getattr(self._database, name)
        if name in ("open", "close"):
            return call  # type: ignore[no-any-return]

        def carried(*args: Any, **options: Any) -> Awaitable[Any]:
            return self._line.carry(name, partial(call, *args, **options))

        return carried


class Replica:
    """One incarnation at work: it beats, and takes what it is given."""

    def __init__(self, database: "Database", name: str, *, host: "Host", lease_s: float = 1.0) -> None:
        self.name = name
        self.line = Line()
        self.host = host
        self.connection: Any = Lined(database, self.line)
        self.membership = Membership(database=self.connection, name=name, version="1", lease_s=lease_s, host=host)
        self.commits: list[Committed] = []
        self.journal = SharedJournal(
            database=self.connection, membership=self.membership, host=host, on_commit=self.commits.append
        )
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self, *duties: str, only: str | None = None) -> None:
        """Open, beat, and offer these."""
        await self.journal.open()
        self.tasks = [asyncio.create_task(self.membership.run()), asyncio.create_task(self.journal.run())]
        if duties:
            await self.membership.offer([Offer(duty=duty, only=only) for duty in duties])

    async def end(self) -> None:
        """As if the process were gone: nothing is said to anybody."""
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with suppress(asyncio.CancelledError, JournalFenced):
                await task
        self.tasks.clear()
        await self.journal.close()

    async def next_changes(self, within_s: float = 5.0) -> Changes:
        """What is new within so many seconds; raises TimeoutError."""
        async with asyncio.timeout(within_s):
            return await self.membership.changes()


class Cluster:
    """A database in memory and its replicas."""

    def __init__(self, *, max_bytes: int | None = None) -> None:
        self.database = MemoryDatabase(LoopClock().now_s, max_bytes=max_bytes)
        self.replicas: list[Replica] = []

    def replica(self, name: str, *, off_s: float = 0.0, **options: Any) -> Replica:
        """One that is not started."""
        host = virtual_host(off_s=off_s, boot_id=f"start-of-{name}")
        one = Replica(MemoryConnection(self.database), name, host=host, **options)
        self.replicas.append(one)
        return one

    async def started(self, name: str, *duties: str, **options: Any) -> Replica:
        """One that is."""
        one = self.replica(name, **options)
        await one.start(*duties)
        return one


@asynccontextmanager
async def cluster(**options: Any) -> AsyncIterator[Cluster]:
    """A database whose replicas end with the block."""
    one = Cluster(**options)
    try:
        yield one
    finally:
        for replica in one.replicas:
            await replica.end()
