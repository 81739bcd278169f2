"""What the command line does with a journal that no daemon owns: it becomes the owner for a moment."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from listener.errors import ControlError, JournalError, JournalLocked
from listener.journal import SqliteJournal
from listener.model import LetterFilter

T = TypeVar("T")


async def replay(path: Path, which: LetterFilter) -> int:
    """Mark dead letters, durably: the next daemon delivers them once more. Returns how many are marked now.

    Raises:
        ControlError: another process owns the journal after all.
        JournalError: there is no journal, or it could not do it.
    """
    return await _owning(path, lambda journal: journal.replay_dead_letters(which))


async def drop(path: Path, which: LetterFilter) -> int:
    """Delete dead letters for good; returns how many that were. Raises as `replay`."""
    return await _owning(path, lambda journal: journal.drop_dead_letters(which))


async def _owning(path: Path, work: Callable[[SqliteJournal], Awaitable[T]]) -> T:
    if not await asyncio.to_thread(path.exists):
        raise JournalError(f"journal {path}: no such file")  # opening would make one
    journal = SqliteJournal(path=path)
    try:
        await journal.open()
    except JournalLocked as exc:
        raise ControlError(f"{exc}, which takes no orders; if it is just starting or stopping, try again") from exc
    try:
        return await work(journal)
    finally:
        await journal.close()
