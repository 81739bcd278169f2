"""One process of the listener in a simulated world: started, stopped in order, or killed."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from listener.config.settings import Settings
from listener.daemon.daemon import Daemon
from listener.journal.shared.database import Database
from listener.model.event import Event
from listener.runtime.host import Host
from simulation.clock import WorldClock
from simulation.loop import LIFE, Life, Loop, Worker

HOST = "listener"
COUNTERS = ("received", "forwarded", "filtered", "refused")
_SYNCED = 2  # PRAGMA synchronous = FULL


class Process:
    """The real daemon with its real journal and sinks.

    Args:
        loop: of the world.
        host: where it runs.
        clock: of that host.
        settings: its configuration.
        number: of the process, and of its dice.
        boot: how often its machine was started.
        on_record: called with events that became durable.
        on_end: called with what ended it, None for an orderly end.
        database: makes what it shares with others; None where its journal is its own.
    """

    def __init__(
        self,
        *,
        loop: Loop,
        host: str = HOST,
        clock: WorldClock,
        settings: Settings,
        number: int,
        boot: int,
        on_record: Callable[[int, tuple[Event, ...]], None],
        on_end: Callable[["Process", BaseException | None], None],
        database: Callable[[], Database] | None = None,
    ) -> None:
        self.number = number
        self.folder: Path = settings.base
        self.started_at = loop.now_s
        self.life = Life()
        self.host = host
        self._loop = loop
        self._on_end = on_end
        self._spawned: list[asyncio.Task[None]] = []
        parts = Host(
            clock=clock,
            random=random.Random(f"{loop.seed}:process:{number}"),
            boot_id=f"start-{boot}",
            new_worker=lambda _: Worker(loop),
        )
        self.daemon = Daemon(
            settings,
            host=parts,
            takes_orders=False,
            on_record=lambda events: on_record(number, events),
            database=database,
        )
        token = LIFE.set(self.life)
        try:
            self.task = loop.net.host(host).create_task(self._run(), name=f"process {number}")
        finally:
            LIFE.reset(token)

    async def _run(self) -> None:
        try:
            await self.daemon.run()
        except Exception as exc:  # noqa: BLE001 - whatever ends it is for the world to judge
            self._on_end(self, exc)
        else:
            self._on_end(self, None)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Let it do this too."""
        token = LIFE.set(self.life)
        try:
            self._spawned.append(self._loop.net.host(self.host).create_task(work, name=name))
        finally:
            LIFE.reset(token)

    def kill(self, *, power: bool) -> None:
        """SIGKILL: its code runs no more. The kernel resets its connections, unless there is no power for that."""
        self.life.alive = False
        net = self._loop.net
        for transport in [one for key, one in net._streams.items() if key[1] == self.host]:
            if not power:
                transport._send("rst")
            transport._closed = True
            transport._protocol = None
            net._drop_stream(transport._conn, *transport._local)
        for number in [number for number, one in net._pending.items() if one.local[0] == self.host]:
            del net._pending[number]

    @property
    def _handle(self) -> Any:
        part = self.daemon._journal._part
        return None if part is None else part.store.handle

    @property
    def has_its_journal(self) -> bool:
        """Whether the journal is open, and so nobody else's."""
        return self.daemon._journal._part is not None

    @property
    def commits_are_synced(self) -> bool:
        """Whether SQLite syncs each commit."""
        handle = self._handle
        return handle is None or handle.connection.execute("PRAGMA synchronous").fetchone()[0] >= _SYNCED

    def fill_disk(self, *, is_full: bool) -> None:
        """Let the journal take nothing more, or again."""
        handle = self._handle
        if handle is not None:
            handle.connection.execute(f"PRAGMA query_only = {'ON' if is_full else 'OFF'}")

    def counts(self) -> dict[str, float]:
        """What it has counted: notifications received, and what became of them."""
        counts = dict.fromkeys(COUNTERS, 0.0)
        for (name, _), count in self.daemon.metrics._counts.items():
            kind = name.removeprefix("notifications_").removesuffix("_total")
            if kind in counts:
                counts[kind] += count
        return counts

    def resume_what_is_told(self) -> None:
        """As a person does who reads what keeps the daemon from being ready: a sink that is parked, or told to wait."""
        told = " ".join(self.daemon.not_ready())
        for name, lane in self.daemon._lanes.running.items():
            if f"sink {name} is parked" in told or f"sink {name} is to be left alone" in told:
                lane.resume(by_command=True)

    def not_settled(self) -> list[str]:
        """What it has not finished."""
        found = list(self.daemon.not_ready())
        found += [
            f"sink {name} lags by {status.lag}"
            for name, lane in self.daemon._lanes.running.items()
            if (status := lane.status()).lag
        ]
        found += [
            f"sink {name} is to get {left} events again"
            for name, lane in self.daemon._lanes.running.items()
            if (left := lane.status().resend_left)
        ]
        accounts = self.daemon._accounts
        for one in accounts._listening.values() if accounts is not None else ():
            reconciler = one.receiver._reconciler
            if reconciler is not None and reconciler.is_due:
                found.append(f"account {one.settings.username} has chats to read again")
        return found
