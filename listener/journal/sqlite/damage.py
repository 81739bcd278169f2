"""Repairs a damaged journal: sets it aside, and puts a sound one in its place."""

import os
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path

import structlog

from listener.journal.sqlite import damage_marker, dead_letters, inspection, recovered, salvage
from listener.journal.sqlite.database import connect
from listener.journal.sqlite.inspection import is_bad_sector
from listener.runtime.durable import sync_folder

_log = structlog.get_logger(__name__)
_BESIDE = ("", "-wal", "-shm")
_PIECE = 4096  # what a disk gives or refuses as one


def repair(path: Path, at_ms: int) -> None:
    """Make the journal at `path` usable; for its owner, before any connection. Blocks.

    `at_ms` is the present moment, in epoch milliseconds.

    Where it is damaged, what can be read of it becomes a new journal beside it, complete and on the disk under a name
    of its own. Only then is the damaged one renamed, with its log, and the new one takes its place. A process that dies
    in between leaves either the damaged journal where it was, or the new one whole: the next open continues from there.

    Raises OSError, sqlite3.Error: the new one does not fit, or something cannot be read or renamed for now.
    """
    _take_place(path, at_ms)
    log = path.with_name(f"{path.name}-wal")
    if not path.exists():
        if not log.exists() or not log.stat().st_size:
            return
        os.close(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        )  # SQLite would remove the log
    fault = inspection.fault_of(path, thorough=damage_marker.exists(path))
    if fault is not None:
        _rebuild(path, fault, at_ms)
    damage_marker.remove(path)


def _rebuild(path: Path, fault: str, at_ms: int) -> None:
    aside = free_name(path, at_ms)
    part = path.with_name(f"{path.name}.part")
    remove_part(part)
    try:
        salvaged = _salvage(path, part, at_ms=at_ms, set_aside=aside.name)
    except BaseException:
        remove_part(part)
        raise
    install(part, path, at_ms)
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


def install(part: Path, path: Path, at_ms: int, *, replaced: Iterable[Path] = ()) -> None:
    """Put a journal that is complete and on the disk in its place, and aside what lies there and is not `replaced`."""
    part.rename(_finished(path))
    sync_folder(path.parent)
    for file in replaced:
        file.unlink(missing_ok=True)
    _take_place(path, at_ms)


def _salvage(path: Path, part: Path, *, at_ms: int, set_aside: str) -> salvage.Salvaged:
    """Where the disk refuses to give a part of the files, from a copy that has zeros there."""
    try:
        return salvage.rebuild(path, part, at_ms=at_ms, set_aside=set_aside)
    except OSError as exc:
        if not is_bad_sector(exc):
            raise
    remove_part(part)
    copy = part.with_name(f"{part.name}-readable")
    lost = {file.name: copy_readable(file, copy.with_name(f"{copy.name}{suffix}")) for suffix, file in _files(path)}
    _log.error("journal_sectors_unreadable", path=str(path), unread_bytes=lost)
    log_is_whole = not any(lost.get(f"{path.name}{suffix}") for suffix in _BESIDE[1:])
    salvaged = salvage.rebuild(copy, part, at_ms=at_ms, set_aside=set_aside, log_is_whole=log_is_whole)
    for _, file in _files(copy):
        file.unlink()
    return salvaged


def _files(path: Path) -> list[tuple[str, Path]]:
    """The journal, and what there is beside it, each with its suffix."""
    files = [(suffix, path.with_name(f"{path.name}{suffix}")) for suffix in _BESIDE]
    return [(suffix, file) for suffix, file in files if file.exists()]


def _finished(path: Path) -> Path:
    return path.with_name(f"{path.name}.repaired")


def _take_place(path: Path, at_ms: int) -> None:
    """Set aside what a finished repair replaces, and put it in its place; again from the start after a crash."""
    finished = _finished(path)
    if not finished.exists():
        return
    aside = _aside_of(finished, path, at_ms)
    for suffix, file in _files(path):
        file.rename(_free(aside.with_name(f"{aside.name}{suffix}")))
    sync_folder(path.parent)
    finished.rename(path)
    sync_folder(path.parent)


def _aside_of(finished: Path, path: Path, at_ms: int) -> Path:
    """The name that the new journal has on record, or a free one where that cannot be told."""
    with suppress(*recovered.UNREADABLE, IndexError), closing(connect(finished, "ro&immutable=1")) as connection:
        name = dead_letters.select_damages(connection)[-1].set_aside
        if name:
            return path.with_name(name)
    return free_name(path, at_ms)


def free_name(path: Path, at_ms: int) -> Path:
    """Under which a journal is set aside: `<journal>.damaged-<time>`, or with a number behind it."""
    stamp = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    return _free(path.with_name(f"{path.name}.damaged-{stamp}"))


def _free(name: Path) -> Path:
    numbered = (name.with_name(f"{name.name}-{number}") for number in count(2))
    return next(one for one in chain([name], numbered) if not one.exists())


def remove_part(part: Path) -> None:
    """Remove what an attempt has left of a new journal."""
    for copy in ("", "-copy", "-readable"):
        for suffix in (*_BESIDE, "-journal"):
            part.with_name(f"{part.name}{copy}{suffix}").unlink(missing_ok=True)


def copy_readable(source: Path, target: Path) -> int:
    """Copy what the disk gives of a file, zeros in place of the rest; returns how many bytes those are. Blocks.

    Raises OSError: nothing can be read at all, or there is no room for the copy.
    """
    lost, refusal = 0, None
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        with target.open("xb") as copy:
            for at in range(0, size, _PIECE):
                piece = bytearray(min(_PIECE, size - at))
                try:
                    os.preadv(descriptor, [piece], at)
                except OSError as exc:
                    if not is_bad_sector(exc):
                        raise
                    lost, refusal = lost + len(piece), exc
                copy.write(piece)
    finally:
        os.close(descriptor)
    if refusal is not None and lost == size:
        raise refusal
    return lost
