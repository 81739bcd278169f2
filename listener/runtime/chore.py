"""Work that is due now and then: a task only while it is done, and a timer between."""

import asyncio
from collections.abc import Awaitable, Callable


class Chore:
    """Does something again and again, until `end`.

    A task that sleeps between costs ten times as much memory as a timer, and there are some for each session.

    Args:
        tasks: where its task lives; what the work raises ends the group.
        name: of the task.
        work: what to do.
        every_s: seconds from the end of one time to the beginning of the next; 0 for `now` alone.
        first_s: the same, if not as many, until the first time that comes by itself: it spreads what many have to do.
    """

    __slots__ = ("_every_s", "_name", "_pause_s", "_task", "_tasks", "_timer", "_work")

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        name: str,
        work: Callable[[], Awaitable[object]],
        *,
        every_s: float,
        first_s: float | None = None,
    ) -> None:
        self._tasks: asyncio.TaskGroup | None = tasks
        self._name = name
        self._work = work
        self._every_s = every_s
        self._pause_s = every_s if first_s is None else first_s
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._set_timer()

    def now(self) -> None:
        """Do it now; nothing happens while it is being done, or once it has ended."""
        if self._task is None and self._tasks is not None:
            self._clear_timer()
            self._task = self._tasks.create_task(self._once(), name=self._name)

    def end(self) -> None:
        """No more; work under way is cancelled."""
        self._tasks = None
        self._clear_timer()
        if self._task is not None:
            self._task.cancel()

    def _set_timer(self) -> None:
        if self._every_s > 0:
            self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._due)

    def _due(self) -> None:
        self._pause_s = self._every_s
        self.now()

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _once(self) -> None:
        await self._work()
        self._task = None
        self._set_timer()
