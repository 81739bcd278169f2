"""What a task does that the journal fails; what ended the tasks of the daemon, and which of several errors to show."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import structlog

from listener.errors import JournalError, JournalFenced, ListenerError

_log = structlog.get_logger(__name__)

_AGAIN_S = 1.0


class Patience:
    """Has steps done that need the journal, however long it cannot be asked."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}

    @property
    def trouble(self) -> str | None:
        """Why a step waits, in words; None while none does."""
        return next((f"the journal could not be asked: {why}" for why in self._waiting.values()), None)

    async def persist(self, step: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Try a step that may be repeated until it is done, whatever JournalError it raises."""
        try:
            while True:
                try:
                    return await work()
                except JournalError as exc:
                    if step not in self._waiting:
                        _log.warning("journal_awaited", step=step, error=str(exc), effect="tried until it can be done")
                    self._waiting[step] = str(exc)
                    await asyncio.sleep(_AGAIN_S)
        finally:
            self._waiting.pop(step, None)


async def loud(work: Coroutine[Any, Any, None]) -> None:
    """Add the task's name to whatever ends the task."""
    try:
        await work
    except Exception as exc:
        task = asyncio.current_task()
        for leaf in _leaves(exc):
            leaf.add_note(f"in {task.get_name() if task else 'no task'}")
        raise


def says_only_that_it_is_fenced(group: BaseExceptionGroup[BaseException]) -> bool:
    """What else failed meanwhile, of what is expected to, is of no interest any more."""
    leaves = list(_leaves(group))
    return any(isinstance(exc, JournalFenced) for exc in leaves) and all(
        isinstance(exc, ListenerError) for exc in leaves
    )


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The cause to show to a person: an error of ours, if there is one."""
    leaves = list(_leaves(group))
    return next((exc for exc in leaves if isinstance(exc, ListenerError)), leaves[0])


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups, from left to right."""
    if isinstance(exc, BaseExceptionGroup):
        for part in exc.exceptions:
            yield from _leaves(part)
    else:
        yield exc
