"""A thread that does one thing after the other, for what blocks."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[asyncio.Future[Any] | Future[Any] | None, Callable[[], None]]


class Worker(Executor):
    """One thread of this name, from the start on.

    `run` is for the event loop; the rest is that of any executor. `loop.run_in_executor` with a ThreadPoolExecutor
    makes two futures a call, one of them with a lock and waiters, and takes half as long again.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._is_shut = False
        self._thread = threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True)
        self._thread.start()
        weakref.finalize(self, self._jobs.put, None)

    def run(self, work: Callable[..., T], /, *args: Any) -> asyncio.Future[T]:
        """Do `work` in the thread; not if it is cancelled before its turn. On the event loop, which gets the result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if not future.cancelled():
                _tell(loop, partial(_settle, future), _outcome(work, args))

        self._put(future, job)
        return future

    def then(self, done: Callable[[T], None], work: Callable[..., T], /, *args: Any) -> None:
        """Do `work`, which raises nothing, in the thread, then `done` with its result on the event loop.

        As `run` with a callback, but one turn of the loop sooner.
        """
        loop = asyncio.get_running_loop()
        self._put(None, lambda: _tell(loop, done, (work(*args),)))

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """See `Executor`; from any thread."""
        future: Future[T] = Future()

        def job() -> None:
            if future.set_running_or_notify_cancel():
                _settle(future, *_outcome(partial(fn, *args, **kwargs), ()))

        self._put(future, job)
        return future

    def _put(self, future: asyncio.Future[Any] | Future[Any] | None, job: Callable[[], None]) -> None:
        if self._is_shut:
            raise RuntimeError(f"{self._thread.name} was shut down")
        self._jobs.put((future, job))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """See `Executor`; with `cancel_futures` on the event loop."""
        self._is_shut = True
        if cancel_futures:
            with suppress(Empty):
                while (queued := self._jobs.get_nowait()) is not None:
                    if queued[0] is not None:
                        queued[0].cancel()
        self._jobs.put(None)
        if wait:
            self._thread.join()


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job[1]()
        del job  # an idle thread keeps nothing alive


def _tell(loop: asyncio.AbstractEventLoop, done: Callable[..., None], outcome: tuple[Any, ...]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(done, *outcome)


def _outcome(work: Callable[..., T], args: tuple[Any, ...]) -> tuple[T | None, BaseException | None]:
    try:
        return work(*args), None
    except BaseException as exc:  # noqa: BLE001 - whatever it is, its caller gets it, and the thread goes on
        return None, exc


def _settle(future: asyncio.Future[Any] | Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
