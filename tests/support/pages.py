"""The HTTP side with its real parts on a port of the loopback, and clients that say just what a test wants."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from listener.errors import ControlError, NotPossible
from listener.model.condition import Attempt, ReadinessProblem, SinkReport
from listener.model.event import DeadLetterFilter
from listener.runtime.metrics import Metrics
from listener.testing import MemoryJournal
from listener.web.actions import Actions, Resent, Resumed, SinkTested
from listener.web.attempts import AttemptList, AttemptPage
from listener.web.auth import Guard
from listener.web.console import Console
from listener.web.feed import Feed
from listener.web.lookups import Lookups
from listener.web.openapi import Description
from listener.web.routes import Route
from listener.web.server import HttpServer
from listener.web.status import (
    SCHEMA_VERSION,
    AccountReport,
    Build,
    ConfigurationReport,
    Gaps,
    JournalReport,
    Probes,
    Status,
    StatusPage,
)
from listener.web.summary import (
    AccountCounts,
    AccountPage,
    AccountState,
    LastHour,
    OpenGaps,
    Rates,
    Summary,
    SummaryPages,
)

TOKEN = "c2VjcmV0.for-tests_only~1+/=="
NO_GAPS = Gaps(count=0, seconds=0.0, last=None)
STATUS = Status(
    schema_version=SCHEMA_VERSION,
    at="2026-11-22T09:39:00.123Z",
    ready=True,
    problems=(),
    build=Build(version="1", python="3", started_at="2026-11-22T09:39:00.000Z"),
    configuration=ConfigurationReport(loaded_at="2026-11-22T09:39:00.000Z", refused_at=None, problems=()),
    accounts=(),
    sinks=(),
    gaps=NO_GAPS,
    dead_letters=None,
    journal=JournalReport(
        last_sequence=0,
        depth_events=0,
        oldest_age_seconds=0.0,
        bytes=0,
        failing=None,
        commit_waiting_seconds=0.0,
        stored=None,
    ),
)
SINK = SinkReport(
    sink="crm",
    kind="webhook",
    cursor=1,
    lag_events=12,
    lag_seconds=95.0,
    delivered=1,
    failures=0,
    parked=None,
    stalled_seconds=0.0,
    quiet_seconds=0.0,
    last_error=None,
    dead_letters=3,
)
DENIED = AccountReport(
    account="agent1",
    subscribed=False,
    subscribed_at=None,
    epoch=0,
    ack=False,
    silent_seconds=0.0,
    gaps=NO_GAPS,
    last_error="denied",
    trouble="no subscription: denied",
    trouble_since=STATUS.at,
    gap_since=STATUS.at,
)
SUMMARY = Summary(
    schema_version=SCHEMA_VERSION,
    at=STATUS.at,
    ready=True,
    instance="host",
    server="https://gws.example",
    build=STATUS.build,
    configuration=STATUS.configuration,
    health=(),
    rates=Rates(events_per_second=0.0, deliveries_per_second=0.0),
    last_hour=LastHour(
        since="2026-11-22T08:40:00.000Z",
        known_since="2026-11-22T08:40:00.000Z",
        step_seconds=60,
        events=(0,) * 60,
        delay_ms=(None,) * 60,
        gaps=(),
    ),
    accounts=AccountCounts(total=0, subscribed=0, troubled=0),
    troubles=(),
    open_gaps=OpenGaps(count=0, oldest_at=None, newest=()),
    sinks=(),
    gaps=NO_GAPS,
    dead_letters=None,
    journal=STATUS.journal,
)


class Pages:
    """What the server asks for: answers that a test can change, and what was ordered."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.problems: list[ReadinessProblem] = []
        self.status: Any = STATUS
        self.summary: Any = SUMMARY
        self.asked_accounts: list[tuple[str, str, str, int]] = []
        self.parked = {"crm"}
        self.failing = set[str]()
        self.replayed: list[DeadLetterFilter] = []
        self.tested: list[str] = []
        self.resent: list[tuple[str, int, int, bool]] = []
        self.attempts: tuple[Attempt, ...] = ()
        self.failure: Exception | None = None
        self.journal = MemoryJournal()
        self.paces: dict[str, float] = {}

    async def _status(self) -> Status:
        return self.status

    async def _summary(self) -> Summary:
        return self.summary

    async def _accounts(self, part: str, state: AccountState, after: str, limit: int) -> AccountPage:
        self.asked_accounts.append((part, state, after, limit))
        return AccountPage(accounts=self.status.accounts, next=None, total=len(self.status.accounts))

    async def _resume(self, sink: str) -> Resumed:
        if sink not in {"crm", "audit"}:
            raise ControlError(f"there is no sink {sink!r}")
        parked = sink in self.parked
        self.parked.discard(sink)
        return Resumed(sink=sink, resumed=parked, trying=sink in self.failing)

    async def _test(self, sink: str) -> SinkTested:
        if sink == "audit":
            raise NotPossible("replica 'b' delivers to sink 'audit'")
        await self._resume(sink)
        self.tested.append(sink)
        return SinkTested(sink=sink, event_id="test-1", verdict="reject", reason="crm answered 422", answer="no")

    async def _resend(self, sink: str, from_ms: int, to_ms: int, dry_run: bool) -> Resent:
        if sink == "audit":
            raise NotPossible("sink 'audit' is an audit trail")
        await self._resume(sink)
        self.resent.append((sink, from_ms, to_ms, dry_run))
        return Resent(sink=sink, events=3, first_sequence=4, last_sequence=6, waiting=1, oldest_at=None, replica=None)

    async def _cancel_resend(self, sink: str) -> int:
        await self._resume(sink)
        return 2

    async def _list_attempts(self, sink: str, limit: int) -> AttemptList:
        if sink not in {"crm", "audit"}:
            raise ControlError(f"there is no sink {sink!r}")
        here = sink == "crm"
        return AttemptList(
            sink=sink, attempts=self.attempts[:limit] if here else (), here=here, replica="a" if here else "b"
        )

    async def _replay(self, which: DeadLetterFilter) -> int:
        if self.failure is not None:
            raise self.failure
        self.replayed.append(which)
        return 3

    def routes(self, *, secured: bool) -> list[Route]:
        parts = (
            Probes(problems=lambda: self.problems, metrics=self.metrics),
            StatusPage(status=self._status),
            SummaryPages(summary=self._summary, accounts=self._accounts),
            AttemptPage(attempts=self._list_attempts),
            Actions(
                resume=self._resume,
                test=self._test,
                resend=self._resend,
                cancel_resend=self._cancel_resend,
                replay=self._replay,
            ),
            Console(),
            Feed(
                read=self.journal.read,
                wait_beyond=self.journal.wait_beyond,
                search=self.journal.search,
                last_sequence=lambda: self.journal.last_sequence,
                metrics=self.metrics,
                **self.paces,
            ),
            Lookups(
                search=self.journal.search,
                letters=self.journal.dead_letter_page,
                groups=self.journal.dead_letter_groups,
            ),
            Description(secured=secured),
        )
        return [route for part in parts for route in part.routes()]

    def server(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: Callable[[], str] | None = None,
        more: Sequence[Route] = (),
        **limits: Any,
    ) -> HttpServer:
        """A server with all pages; `only_here` is the loopback."""
        return HttpServer(
            host=host,
            port=port,
            routes=[*self.routes(secured=token is not None), *more],
            guard=Guard(token=token, only_here="127.0.0.1"),
            metrics=self.metrics,
            **limits,
        )


@contextlib.asynccontextmanager
async def running(server: HttpServer) -> AsyncIterator[HttpServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def raw(port: int, sent: bytes) -> bytes:
    """Everything that comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
