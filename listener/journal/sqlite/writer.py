"""The one writer: what is queued at a moment becomes one transaction, with one fsync."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from msgspec.structs import replace

from listener.errors import JournalDamaged, JournalError, JournalFull, JournalStale
from listener.journal.sqlite import damage_marker, rows
from listener.journal.sqlite.database import journal_error
from listener.journal.sqlite.deferred import Deferral, Deferred
from listener.journal.sqlite.store import Handle
from listener.model.event import Event, JournalBatch
from listener.runtime.worker import Worker

_QUIET_S = 60.0

_log = structlog.get_logger(__name__)


class Append:
    """A batch to store; its result is the sequence of its last event."""

    __slots__ = ("arrived_s", "batch", "future")

    def __init__(self, *, batch: JournalBatch, arrived_s: float, future: asyncio.Future[Any]) -> None:
        self.batch = batch
        self.arrived_s = arrived_s
        self.future = future


class Call:
    """Any other change; its result is what `work` returns. `work` runs inside the transaction."""

    __slots__ = ("future", "work")

    def __init__(self, *, work: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future


Operation = Append | Call


class Commit(NamedTuple):
    """The outcome of some operations: durable with their results and events, or all of them failed.

    `error` is a JournalError where trying again can help, and JournalDamaged where only the next open does. Anything
    else is a bug, or a value that no journal can hold (sqlite3 raises OverflowError for a number of more than 64 bits):
    it reaches the caller as what it is, and ends it. `fsync_s` is how long COMMIT took.
    """

    operations: Sequence[Operation]
    results: Sequence[Any]
    events: Sequence[Event]
    last_sequence: int
    error: Exception | None
    fsync_s: float = 0.0

    def settle(self) -> None:
        """Answer the callers that still wait; on the event loop only."""
        for index, operation in enumerate(self.operations):
            if operation.future.done():
                continue
            outcome = self.error or self.results[index]
            if isinstance(outcome, Exception):
                operation.future.set_exception(outcome)
            else:
                operation.future.set_result(outcome)

    def waited_s(self, now_s: float) -> float | None:
        """How long the oldest batch waited for its commit, in seconds; None without one."""
        arrivals = [operation.arrived_s for operation in self.operations if isinstance(operation, Append)]
        return now_s - min(arrivals) if arrivals and self.error is None else None


class Writer:
    """Owns the writing connection and the sequence counter until `stop`.

    While one transaction is on its way to the disk, everything that arrives queues up and becomes the next one: the
    more sessions write at the same moment, the fewer fsyncs each of them costs.

    Args:
        path: for the text of errors.
        handle: used in the worker alone.
        last_sequence: the last sequence ever used.
        deferred: what the last owner deferred.
        worker: its thread.
        settled: called on the event loop with the outcome of a group.
        monotonic_s: seconds that only run forward.
        max_bytes: how much the rows may take before events are refused; None for as much as there is room.
    """

    def __init__(
        self,
        *,
        path: Path,
        handle: Handle,
        last_sequence: int,
        deferred: Sequence[Deferred] = (),
        worker: Worker,
        settled: Callable[[Sequence[Commit]], None],
        monotonic_s: Callable[[], float],
        max_bytes: int | None = None,
    ) -> None:
        self._path = path
        self._handle = handle
        self._last_sequence = last_sequence
        self._loop = asyncio.get_running_loop()
        self._worker = worker
        self._settled = settled
        self._monotonic_s = monotonic_s
        self._max_bytes = max_bytes
        self._logged = ""
        self._quiet_until_s = 0.0
        self._deferral = Deferral(deferred, last_sequence)
        self._waiting: list[Operation] = []
        self._is_busy = False

    def submit(self, operation: Operation, *, at_once: bool = False) -> None:
        """Queue an operation; the order of the calls is the order of the sequences.

        What else arrives in this turn of the loop shares its commit, unless it is to begin `at_once`.
        """
        self._waiting.append(operation)
        if not self._is_busy:
            self._is_busy = True
            if at_once:
                self._begin()
            else:
                self._loop.call_soon(self._begin)

    def stop(self, last: Callable[[], None]) -> asyncio.Future[None]:
        """Commit what is queued, then call `last` in the worker; nothing may be submitted any more."""
        self._begin()
        return self._worker.run(last)

    def _begin(self) -> None:
        if self._waiting:
            group, self._waiting = self._waiting, []
            self._worker.then(self._finish, self._outcome, group)

    def _finish(self, commits: Sequence[Commit]) -> None:
        """The next group is on its way before anybody hears of this one."""
        self._is_busy = bool(self._waiting)
        self._begin()
        self._settled(commits)

    def _outcome(self, group: Sequence[Operation]) -> Sequence[Commit]:
        """The outcome of a group, whatever happens; in the worker, as all that follows."""
        try:
            return self._commit(group)
        except Exception as exc:  # noqa: BLE001 - a bug is its callers' to die of, loudly
            self._roll_back()
            return [Commit(group, (), (), self._last_sequence, exc)]

    def _commit(self, group: Sequence[Operation]) -> Sequence[Commit]:
        """One transaction for all; where that fails, one for each, so that none pays for its neighbour."""
        commits = [self._attempt(group)]
        if commits[0].error is not None and len(group) > 1:
            commits = [self._attempt([operation]) for operation in group]
        errors = [commit.error for commit in commits if commit.error is not None]
        if errors:
            self._log_failures(errors, len(group))
        return commits

    def _log_failures(self, errors: Sequence[Exception], operations: int) -> None:
        """A disk that is full fails every commit, several a second: the same words come once a minute."""
        text, now_s = str(errors[0]), self._monotonic_s()
        if text == self._logged and now_s < self._quiet_until_s:
            return
        self._logged, self._quiet_until_s = text, now_s + _QUIET_S
        kind = type(errors[0]).__name__
        _log.warning("journal_commit_failed", operations=operations, failed=len(errors), error=text, type=kind)

    def _attempt(self, group: Sequence[Operation]) -> Commit:
        try:
            return self._transaction(group)
        except (sqlite3.Error, OSError, JournalError, UnicodeDecodeError) as exc:
            return self._failed(group, journal_error(self._path, exc))
        except Exception as exc:  # noqa: BLE001 - whatever it is, its caller gets it and the writer continues
            return self._failed(group, exc)

    def _failed(self, group: Sequence[Operation], error: Exception) -> Commit:
        self._handle.failed(error.__cause__ or error)
        if isinstance(error, JournalDamaged):
            damage_marker.leave(self._path, str(error))
        self._roll_back()
        return Commit(group, (), (), self._last_sequence, error)

    def _transaction(self, group: Sequence[Operation]) -> Commit:
        """Apply the operations in their order, neighbouring appends together, and commit."""
        results: list[Any] = []
        events: list[Event] = []
        last = self._last_sequence
        only_appends = all(map(_is_append, group))
        connection = self._handle.ready(whole_look=not only_appends)
        connection.execute("BEGIN IMMEDIATE")
        self._deferral.begin()
        if not only_appends:  # what a call reads or changes is all in its table
            self._deferral.fold(connection, through=last)
        for is_append, run in groupby(group, key=_is_append):
            if is_append:
                appends = [one for one in run if isinstance(one, Append)]
                last = self._store(appends, last, results, events, may_defer=only_appends)
            else:
                results += [one.work(connection) for one in run if isinstance(one, Call)]
        began_s = self._monotonic_s()
        connection.execute("COMMIT")
        fsync_s = self._monotonic_s() - began_s
        self._handle.committed(last if events else None)
        self._deferral.committed()
        self._last_sequence = last
        return Commit(group, results, events, last, None, fsync_s)

    def _store(
        self, appends: list[Append], last: int, results: list[Any], events: list[Event], *, may_defer: bool
    ) -> int:
        """Number and insert the appends' parts; adds results and events, returns the last number.

        If the transaction stores nothing else it `may_defer` what is not an event.

        Raises JournalFull: events would go beyond the limit. All else may, since that is what makes room again.
        """
        connection = self._handle.connection
        if self._max_bytes is not None and any(append.batch.events for append in appends):
            used = rows.used_bytes(connection)
            if used >= self._max_bytes:
                raise JournalFull(
                    f"journal {self._path}: {used} bytes are in use, journal.max_bytes is {self._max_bytes}"
                )
        parameters: list[Any] = []
        batches: list[JournalBatch] = []
        for append in appends:
            if append.batch.new_chats and (known := self._known(append.batch, batches)):
                results.append(JournalStale(sorted(known)))
                continue
            batches.append(append.batch)
            numbered = [replace(event, sequence=n) for n, event in enumerate(append.batch.events, last + 1)]
            last += len(numbered)
            parameters += rows.event_parameters(numbered)
            events += numbered
            results.append(last)
        if may_defer:
            self._deferral.store(connection, batches, parameters, last=last)
        else:
            rows.insert_events(connection, parameters)
            self._deferral.replace(connection, batches)
        return last

    def _known(self, batch: JournalBatch, before: list[JournalBatch]) -> set[str]:
        """What the batch takes for new and is not: it has values in the journal, or in those before it in the group."""
        written = {value.chat_id for one in before for value in one.values}
        return rows.select_known(self._handle.connection, batch.new_chats).union(
            written.intersection(batch.new_chats), self._deferral.chats.intersection(batch.new_chats)
        )

    def _roll_back(self) -> None:
        """SQLite has rolled back by itself after some errors; a failing roll back leaves nothing to undo either."""
        try:
            if self._handle.connection.in_transaction:
                self._handle.connection.execute("ROLLBACK")
        except sqlite3.Error as exc:
            self._handle.failed(exc)
            _log.error("journal_roll_back_failed", path=str(self._path), error=str(exc))


def _is_append(operation: Operation) -> bool:
    return isinstance(operation, Append)
