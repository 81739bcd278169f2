"""What ended the tasks of the daemon: where, and which of several errors to show."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from listener.errors import JournalFenced, ListenerError


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
