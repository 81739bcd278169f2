"""Work that is due now and then: a task only while it is done, and a timer between."""

import asyncio
from collections.abc import Awaitable, Callable


class Chore:
    """Does something again and again, until `end`.

    A task that sleeps between costs ten times as much memory as a timer, and there is one for each session.

    Args:
        tasks: where its task lives; what the work raises ends the group.
        name: of the task.
        work: what to do.
        every_s: seconds from the end of one time to the beginning of the next.
    """

    __slots__ = ("_every_s", "_name", "_task", "_tasks", "_timer", "_work")

    def __init__(
        self, tasks: asyncio.TaskGroup, name: str, work: Callable[[], Awaitable[object]], *, every_s: float
    ) -> None:
        self._tasks = tasks
        self._name = name
        self._work = work
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self._set_timer()

    def end(self) -> None:
        """No more; work under way is cancelled."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _set_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._begin)

    def _begin(self) -> None:
        self._task = self._tasks.create_task(self._once(), name=self._name)

    async def _once(self) -> None:
        await self._work()
        self._task = None
        self._set_timer()
