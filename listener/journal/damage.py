"""Damage that needs no hand: the damaged journal is set aside, and a sound one takes its place."""

import os
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

import structlog

from listener.journal import inspection, letters, salvage, suspect, tables
from listener.journal.database import connect
from listener.journal.files import sync_folder

_log = structlog.get_logger(__name__)

_BESIDE = ("", "-wal", "-shm")


def repair(path: Path) -> None:
    """Make the journal at `path` one that can be opened; for its owner, before any connection. Blocks.

    Where it is damaged, what can be read of it becomes a new journal beside it, complete and on the disk under a name
    of its own. Only then is the damaged one renamed, with its log, and the new one takes its place. A process that dies
    in between leaves either the damaged journal where it was, or the new one whole: the next open goes on from there.

    Raises OSError, sqlite3.Error: the new one does not fit, or something cannot be read or renamed for now.
    """
    _take_place(path)
    log = path.with_name(f"{path.name}-wal")
    if not path.exists():
        if not log.exists() or not log.stat().st_size:
            return
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would remove the log
    fault = inspection.fault_of(path, thorough=suspect.is_noted(path))
    if fault is not None:
        _rebuild(path, fault)
    suspect.forget(path)


def _rebuild(path: Path, fault: str) -> None:
    at_ms = time.time_ns() // 1_000_000
    aside = _free_name(path, at_ms)
    part = path.with_name(f"{path.name}.part")
    _remove(part)
    try:
        salvaged = salvage.rebuild(path, part, at_ms=at_ms, set_aside=aside.name)
    except BaseException:
        _remove(part)
        raise
    part.rename(_finished(path))
    sync_folder(path.parent)
    _take_place(path)
    damage = salvaged.damage
    _log.error(
        "journal_damaged",
        path=str(path),
        error=fault,
        set_aside=str(aside),
        kept=damage.kept,
        stretches=len(damage.stretches),
        unread=salvaged.unread,
    )


def _finished(path: Path) -> Path:
    return path.with_name(f"{path.name}.repaired")


def _take_place(path: Path) -> None:
    """Set aside what a finished repair replaces, and put it in its place; again from the start after a crash."""
    finished = _finished(path)
    if not finished.exists():
        return
    aside = _aside_of(finished, path)
    for suffix in _BESIDE:
        file = path.with_name(f"{path.name}{suffix}")
        if file.exists():
            file.rename(_free(aside.with_name(f"{aside.name}{suffix}")))
    sync_folder(path.parent)
    finished.rename(path)
    sync_folder(path.parent)


def _aside_of(finished: Path, path: Path) -> Path:
    """The name that the new journal has on record, or a free one where that cannot be told."""
    with suppress(*tables.UNREADABLE, IndexError), closing(connect(finished, "ro&immutable=1")) as connection:
        return path.with_name(letters.select_damages(connection)[-1].set_aside)
    return _free_name(path, time.time_ns() // 1_000_000)


def _free_name(path: Path, at_ms: int) -> Path:
    """`<journal>.damaged-<time>`, or with a number behind it."""
    stamp = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return _free(path.with_name(f"{path.name}.damaged-{stamp}"))


def _free(name: Path) -> Path:
    numbered = (name.with_name(f"{name.name}-{number}") for number in count(2))
    return next(one for one in chain([name], numbered) if not one.exists())


def _remove(part: Path) -> None:
    for suffix in (*_BESIDE, "-journal", "-copy", "-copy-wal", "-copy-shm", "-copy-journal"):
        part.with_name(f"{part.name}{suffix}").unlink(missing_ok=True)
