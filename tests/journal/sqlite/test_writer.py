"""Group commit, seen from the worker that does it."""

import asyncio
import sqlite3
import threading
import time

import pytest
import structlog

from listener.errors import JournalError
from listener.journal.sqlite import rows
from listener.journal.sqlite.store import open_store
from listener.journal.sqlite.writer import Append, Call, Writer
from listener.model.event import JournalBatch
from listener.runtime.worker import Worker
from listener.testing import sample_event


class Bench:
    """A writer on a real file, its SQL on record, and what it reported."""

    def __init__(self, path):
        self.store = open_store(path)
        self.sql = []
        self.groups = []
        self.loop = asyncio.get_running_loop()
        self.store.write.set_trace_callback(self.sql.append)
        self.worker = Worker("journal-writer")
        self.writer = Writer(
            path=path,
            handle=self.store.handle,
            last_sequence=0,
            worker=self.worker,
            settled=self.settled,
            monotonic_s=time.monotonic,
        )
        self.held = threading.Event()

    def settled(self, commits):
        self.groups.append(commits)
        for commit in commits:
            commit.settle()

    def call(self, work):
        operation = Call(work=work, future=self.loop.create_future())
        self.writer.submit(operation)
        return operation.future

    def append(self, *events, at_once=False):
        operation = Append(batch=JournalBatch(events=events), arrived_s=0.0, future=self.loop.create_future())
        self.writer.submit(operation, at_once=at_once)
        return operation.future

    async def hold(self):
        """Keep the worker busy in a transaction of its own until `held` is set."""
        running = asyncio.Event()

        def work(connection):
            self.loop.call_soon_threadsafe(running.set)
            return self.held.wait(30)

        future = self.call(work)
        await running.wait()
        return future

    def commits(self):
        return self.sql.count("COMMIT")

    def events(self):
        return [event.id for event in rows.select_events(self.store.read, 0, 1000)]


@pytest.fixture
async def bench(tmp_path):
    bench = Bench(tmp_path / "journal.db")
    yield bench
    bench.held.set()
    await bench.writer.stop(bench.store.close)
    bench.worker.shutdown()


def refusal(error):
    """Work that fails half way."""

    def work(connection):
        connection.execute("INSERT INTO sink_cursor VALUES ('half done', 1)")
        raise error

    return work


async def test_what_queues_up_during_a_commit_shares_the_next(bench):
    held = await bench.hold()
    appends = [bench.append(sample_event(n)) for n in range(50)]
    bench.held.set()
    await held
    assert await asyncio.gather(*appends) == list(range(1, 51))
    assert bench.commits() == 2
    assert [len(group) for group in bench.groups] == [1, 1]


async def test_neighbouring_appends_share_their_statements(bench):
    held = await bench.hold()
    appends = [bench.append(sample_event(n)) for n in range(64)]
    bench.held.set()
    await asyncio.gather(held, *appends)
    assert sum("INSERT INTO event" in statement for statement in bench.sql) == 1


@pytest.mark.parametrize(
    "error",
    [sqlite3.OperationalError("disk I/O error"), OSError("disk I/O error"), ValueError("bug"), TypeError("bug")],
    ids=lambda error: type(error).__name__,
)
async def test_a_failing_operation_of_a_group_fails_alone(bench, error):
    held = await bench.hold()
    futures = [bench.append(sample_event(1)), bench.call(refusal(error)), bench.append(sample_event(2))]
    bench.held.set()
    await held
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert (results[0], results[2]) == (1, 2)
    assert isinstance(results[1], Exception)
    assert bench.events() == ["event-1", "event-2"]
    assert rows.select_cursors(bench.store.read) == {}
    assert len(bench.groups[-1]) == 3


async def test_a_sequence_is_used_up_only_by_a_commit(bench):
    assert await bench.append(sample_event(1)) == 1
    with pytest.raises(OverflowError):
        await bench.append(sample_event(2), sample_event(3, received_ms=2**64))
    assert await bench.append(sample_event(4)) == 2


async def test_the_thread_outlives_whatever_goes_wrong(bench):
    for error in (sqlite3.OperationalError("on request"), ValueError("on request"), ZeroDivisionError("on request")):
        with pytest.raises(Exception, match="on request"):
            await bench.call(refusal(error))
    assert await bench.append(sample_event(1)) == 1


async def test_the_same_failure_is_told_once_a_minute_and_another_one_at_once(bench):
    with structlog.testing.capture_logs() as logs:
        for text in ("disk full", "disk full", "disk full", "disk I/O error"):
            with pytest.raises(JournalError):
                await bench.call(refusal(sqlite3.OperationalError(text)))
    assert [entry["error"].rpartition(": ")[2] for entry in logs] == ["disk full", "disk I/O error"]


@pytest.mark.parametrize("cause", [sqlite3.OperationalError("database is locked"), OSError("no such device")])
async def test_what_may_pass_is_an_error_of_the_journal(bench, cause):
    with pytest.raises(JournalError, match=r"journal\.db: ") as caught:
        await bench.call(refusal(cause))
    assert caught.value.__cause__ is cause


async def test_what_can_never_be_stored_is_no_error_of_the_journal_and_costs_no_neighbour(bench):
    held = await bench.hold()
    futures = [bench.append(sample_event(n, received_ms=2**64 if n == 5 else 0)) for n in range(1, 11)]
    bench.held.set()
    await held
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(results.pop(4), OverflowError)
    assert results == list(range(1, 10))


async def test_operations_of_other_kinds_keep_their_place(bench):
    held = await bench.hold()
    seen = []

    def count(connection):
        seen.append(connection.execute("SELECT count(*) FROM event").fetchone()[0])

    futures = [bench.call(count), bench.append(sample_event(1)), bench.call(count), bench.append(sample_event(2))]
    bench.held.set()
    await asyncio.gather(held, *futures)
    assert seen == [0, 1]


async def test_stopping_finishes_what_is_queued(tmp_path):
    bench = Bench(tmp_path / "journal.db")
    appends = [bench.append(sample_event(n)) for n in range(5)]
    await bench.writer.stop(bench.store.close)
    assert [append.result() for append in appends] == [1, 2, 3, 4, 5]
    bench.worker.shutdown()


async def test_what_arrives_in_one_turn_of_the_loop_shares_a_commit(bench):
    appends = [bench.append(sample_event(n)) for n in range(5)]
    await asyncio.gather(*appends)
    assert bench.commits() == 1


async def test_what_is_to_begin_at_once_waits_for_nothing_but_a_commit_under_way(bench):
    first = bench.append(sample_event(1), at_once=True)
    others = [bench.append(sample_event(n), at_once=n % 2 == 0) for n in range(2, 6)]
    assert await asyncio.gather(first, *others) == [1, 2, 3, 4, 5]
    assert bench.commits() == 2


async def test_stopping_in_the_middle_of_a_commit_finishes_what_waits_behind_it(tmp_path):
    bench = Bench(tmp_path / "journal.db")
    held = await bench.hold()
    appends = [bench.append(sample_event(n)) for n in range(3)]
    stopped = bench.writer.stop(bench.store.close)
    bench.held.set()
    await stopped
    assert [append.result() for append in (held, *appends)] == [True, 1, 2, 3]
    bench.worker.shutdown()


async def test_a_bug_in_what_follows_on_a_failure_reaches_the_caller_and_the_writer_goes_on(bench, monkeypatch):
    def break_down(_error):
        raise RuntimeError("a bug")

    monkeypatch.setattr(bench.store.handle, "failed", break_down)
    with pytest.raises(RuntimeError, match="a bug"):
        await bench.call(lambda connection: connection.execute("SELECT * FROM nowhere"))
    monkeypatch.undo()
    assert await bench.append(sample_event(1)) == 1
