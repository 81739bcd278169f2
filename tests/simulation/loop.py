"""The event loop of a simulated world: simloop's, with processes to be killed and workers that take time."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from concurrent.futures import Executor, Future
from contextvars import ContextVar, copy_context
from traceback import walk_tb
from typing import Any

from aiohttp import web_protocol
from simloop import SimLoop

_WORKER_S = (0.0002, 0.003)  # what a thread and an fsync take
_END_S = 60.0


class Life:
    """A process. What runs in its context runs no more once it is dead: no `finally`, no `except` of it either.

    Nor while it is frozen; then the rest of it runs, in its order, when it thaws.
    """

    def __init__(self) -> None:
        self.alive = True
        self.frozen = False
        self.left: list[Any] = []


LIFE: ContextVar[Life | None] = ContextVar("life", default=None)
"""The process that a callback belongs to."""


class Loop(SimLoop):
    """Runs callbacks in the order in which asyncio promises them; what a seed varies is how long everything takes.

    Attributes:
        steps: how many callbacks have run.
        stall_s: by how much longer a worker takes for each thing.
        errors: what a callback or a task raised that nobody waits for.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.steps = 0
        self.stall_s = 0.0
        self.errors: list[BaseException] = []
        self._dice = random.Random(f"{seed}:workers")
        self._recorder = _Mute()  # type: ignore[assignment]  # a world keeps a record of its own
        self.set_exception_handler(self._note_error)
        self._dialled: dict[int, tuple[str, Life | None]] = {}
        self._schedule_packet, self._deliver_packet = self.net._schedule, self.net._deliver
        self.net._schedule = self._send  # type: ignore[method-assign]
        self.net._deliver = self._arrive  # type: ignore[method-assign]

    @property
    def now_s(self) -> float:
        """Virtual seconds since the world began."""
        return self._now

    def play(self, work: Coroutine[Any, Any, None]) -> None:
        """Run until `work` is done. Raises what it raised."""
        task = self.create_task(work)
        task.add_done_callback(lambda _: self.stop())
        self.run_forever()
        if not task.done():
            raise RuntimeError("nothing is left to run, and the world is not at its end")
        task.result()

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """A worker's turn, or one of the many threads of the default executor."""
        return asyncio.wrap_future((executor or Worker(self)).submit(func, *args), loop=self)

    def worker_s(self) -> float:
        """How long the next thing takes in a worker."""
        return self._dice.uniform(*_WORKER_S) + self.stall_s

    def _send(self, packet: Any, latency: tuple[float, float]) -> None:
        """A packet under way belongs to no process: it arrives although its sender was killed."""
        if packet.kind == "syn":
            self._dialled[packet.conn] = packet.src, LIFE.get()
        context = copy_context()
        context.run(LIFE.set, None)
        context.run(self._schedule_packet, packet, latency)

    def _arrive(self, packet: Any) -> None:
        """What follows from it belongs to who receives it: a server goes on when its client is killed.

        The kernel takes what is for a process that is frozen.
        """
        host, life = self._dialled.get(packet.conn, ("", None))
        LIFE.set(life if packet.dst == host else None)
        if life is not None and life.frozen and packet.dst == host:
            self.call_soon(self._deliver_packet, packet)
        else:
            self._deliver_packet(packet)

    def _note_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        life, error = LIFE.get(), context.get("exception")
        if isinstance(error, BaseException) and (life is None or life.alive) and not _is_of_a_server(error):
            self.errors.append(error)

    def _step(self) -> None:
        if not self._ready:
            self._advance_clock()
        entry = self._ready.pop(0)
        handle = entry[2]
        if handle.cancelled():
            return
        life = handle.get_context().get(LIFE)
        if life is not None and (life.frozen or not life.alive):
            life.left.append(entry)
            return
        self.steps += 1
        handle._run()

    def join(self, pairs: set[frozenset[str]]) -> None:
        """End a partition of these pairs of hosts; what was sent meanwhile goes on its way."""
        self.net._cuts -= pairs
        held, self.net._held = self.net._held, []
        for packet in held:
            self.net._transmit(packet)

    def thaw(self, life: Life) -> None:
        """Let a frozen process do what it has missed."""
        life.frozen = False
        self._ready += life.left
        life.left = []

    def end(self, lives: Iterable[Life]) -> None:
        """Let everything come to its end, killed processes too: nobody looks any more, and nothing is to stay open."""
        for life in lives:
            life.alive = True
            self.thaw(life)
        while tasks := asyncio.all_tasks(self):
            for task in tasks:
                task.cancel()
            self.play(_wait(tasks))
        self.close()


class Worker(Executor):
    """One thing after the other, each at a step of the loop; what a killed process had queued is never done."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._jobs: deque[Callable[[], None]] = deque()
        self._is_busy = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor`."""
        future: Future[Any] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except Exception as exc:  # noqa: BLE001 - as an executor does
                future.set_exception(exc)
            else:
                future.set_result(result)

        self._jobs.append(job)
        self._go_on()
        return future

    def run(self, work: Callable[..., Any], /, *args: Any) -> asyncio.Future[Any]:
        """See `listener.runtime.worker.Worker`."""
        return self._loop.run_in_executor(self, work, *args)

    def then(self, done: Callable[[Any], None], work: Callable[..., Any], /, *args: Any) -> None:
        """See `listener.runtime.worker.Worker`."""
        self.run(work, *args).add_done_callback(lambda future: done(future.result()))

    def _go_on(self) -> None:
        if not self._is_busy and self._jobs:
            self._is_busy = True
            self._loop.call_later(self._loop.worker_s(), self._do_one)

    def _do_one(self) -> None:
        self._is_busy = False
        if self._jobs:
            self._jobs.popleft()()
        self._go_on()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor`."""
        if cancel_futures:
            self._jobs.clear()
        while wait and self._jobs:
            self._jobs.popleft()()


async def _wait(tasks: Collection[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks, timeout=_END_S)


def _is_of_a_server(error: BaseException) -> bool:
    """Whether aiohttp itself has failed on a request that came while its server stopped."""
    frames = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    return frames[-1:] == [web_protocol.__file__]


class _Mute:
    """Stands in for simloop's record of every callback."""

    def record(self, *_: object) -> None:
        """Keep nothing."""
