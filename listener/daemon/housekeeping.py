"""Retention, a look at the journal's files, and recording as gaps what a journal lost."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog

from listener.daemon.failures import Patience
from listener.errors import JournalError
from listener.model.event import Entry, Gap, JournalBatch, SessionState, rfc3339
from listener.ports import Journal
from listener.runtime.clock import SYSTEM_CLOCK
from listener.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

AGE_EVERY_S = 300.0
SIZE_EVERY_S = 10.0
PLACE_EVERY_S = 2.0
_JUMP_S = 600.0
_DAY_MS = 86_400_000


class Retention:
    """Deletes events that are too old, or too many, once every sink has them.

    The wall clock decides what is old. If it jumped since the last round, or right after the start, this waits for the
    next round, so that a wrong time which is soon corrected costs nothing.

    Args:
        journal: whose events.
        keep_for: the sinks that must have an event first.
        retention_days: how long events are kept.
        max_bytes: how much they may take; None for any amount.
        now_ms: epoch milliseconds.
        monotonic_s: a clock that does not jump.
        is_ours: whether it is this process that does it now.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        keep_for: Callable[[], Collection[str]],
        retention_days: float,
        max_bytes: int | None,
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float] = SYSTEM_CLOCK.monotonic_s,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._journal = journal
        self._is_ours = is_ours
        self._keep_for = keep_for
        self._retention_ms = retention_days * _DAY_MS
        self._max_bytes = max_bytes
        self._kept_bytes = max_bytes and max_bytes * 9 // 10  # room is made before it runs out
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._looked = (now_ms(), monotonic_s())

    async def run(self) -> None:
        """Run a round now and then, until cancelled."""
        while True:
            if self._max_bytes is None:
                await asyncio.sleep(AGE_EVERY_S)
            for _ in range(int(AGE_EVERY_S / SIZE_EVERY_S) if self._max_bytes is not None else 0):
                await self._retain(0)
                await asyncio.sleep(SIZE_EVERY_S)
            await self.by_age()

    async def by_age(self) -> None:
        """One round, unless the clock has jumped since the last."""
        before_ms, before_s = self._looked
        self._looked = now_ms, now_s = self._now_ms(), self._monotonic_s()
        jumped_s = (now_ms - before_ms) / 1000 - (now_s - before_s)
        if abs(jumped_s) > _JUMP_S:
            log.warning("clock_jumped", by_s=round(jumped_s), effect="nothing is deleted by age until the next round")
            return
        await self._retain(now_ms - int(min(self._retention_ms, now_ms)))

    async def _retain(self, before_ms: int) -> None:
        if not self._is_ours():
            return
        try:
            deleted = await self._journal.retain(
                before_ms=before_ms, keep_for=self._keep_for(), max_bytes=self._kept_bytes
            )
        except JournalError as exc:
            log.warning("retention_failed", error=str(exc))
        else:
            if deleted:
                log.info("retention", deleted=deleted)


async def look_after(journal: Journal) -> None:
    """Have the writer look every now and then whether its files are in place, also when nothing comes; for ever."""
    while True:
        await asyncio.sleep(PLACE_EVERY_S)
        await journal.ping()


async def keep_recording(record: Callable[[], Coroutine[Any, Any, None]], patience: Patience) -> None:
    """Record what a journal lost, also what another replica has found that died before it was on record; for ever."""
    while True:
        await patience.persist("damages", record)
        await asyncio.sleep(AGE_EVERY_S)


async def remember_losses(journal: Journal, accounts: Collection[str]) -> None:
    """Before any account begins: those whose sessions a loss took have not been heard since that.

    It is stored as a session that nobody can continue, so that the next process knows it too, if this one ends before
    they have another. Raises JournalError.
    """
    damages = await journal.pending_damages()
    if not damages:
        return
    since_ms = min(damage.at_ms for damage in damages)
    known = await journal.sessions(accounts)
    nobodys = partial(SessionState, url="", topic="", client_id="", connection_type="", ack=None, seen_ms=since_ms)
    if lost := tuple(nobodys(account=account) for account in accounts if account not in known):
        await journal.append(JournalBatch(sessions=lost))


async def record_damages(
    journal: Journal, record: Callable[[Entry], Awaitable[None]], accounts: Sequence[str], metrics: Metrics
) -> None:
    """Record as gaps, for every account, the periods whose events a damaged or a lost journal may have held.

    Gaps recorded twice, because of a crash in between, have the same ids. Raises JournalError.
    """
    damages = await journal.pending_damages()
    if not damages:
        return
    for damage in damages:
        reason = "journal_damaged" if damage.set_aside else "journal_lost"
        log.error(
            "journal_loss_recorded",
            set_aside=damage.set_aside,
            kept=damage.kept,
            stretches=[f"{rfc3339(start)} to {rfc3339(end)}" for start, end in damage.stretches],
        )
        for start, end in damage.stretches:
            for account in accounts:
                await record(Entry(account=account, gap=_gap(account, start, end, reason)))
                metrics.count("gaps_total", 1, reason)
            metrics.count("gap_seconds_total", (end - start) / 1000 * len(accounts))
    await journal.settle_damages(damages)


def _gap(account: str, start_ms: int, end_ms: int, reason: str) -> Gap:
    return Gap(
        account=account,
        from_=rfc3339(start_ms),
        to=rfc3339(end_ms),
        reason=reason,
        closed_by="salvage",
    )
