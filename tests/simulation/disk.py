"""The disk of the listener: what was written but not synced is gone when the power fails; it may be full."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from listener.audit import linefile
from listener.runtime import durable

_LEFT_BEHIND = ("journal.db-shm", "journal.db.lock", "journal.db.control")


class Disk:
    """Files below one folder, and how much of each is safe.

    Attributes:
        is_full: whether writes fail.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_full = False
        self._synced: dict[str, int] = {}

    def synced(self, descriptor: int) -> None:
        """A file was synced."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_relative_to(self.folder):
            self._synced[path.name] = os.fstat(descriptor).st_size

    def refuse_when_full(self) -> None:
        """Raise OSError where there is no room."""
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def move(self, old: Path, new: Path, *, power: bool, commits_are_synced: bool) -> None:
        """What a new process finds of the files of one that was killed; `power`: as after a power cut."""
        shutil.copytree(old, new, ignore=lambda _, names: [name for name in names if name in _LEFT_BEHIND])
        if not power:
            return
        with suppress(FileNotFoundError):
            os.truncate(new / "audit.jsonl", self._synced.get("audit.jsonl", 0))
        if not commits_are_synced:
            with suppress(FileNotFoundError):
                os.truncate(new / "journal.db-wal", 0)


class _Os:
    """`os` as a module sees it whose files are on the disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: bytes) -> int:
        self._disk.refuse_when_full()
        return os.write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self._disk.synced(descriptor)

    def fdatasync(self, descriptor: int) -> None:
        self._disk.synced(descriptor)


@contextmanager
def mounted(disk: Disk) -> Iterator[None]:
    """Let the modules that write and sync files do it on this disk."""
    modules: tuple[ModuleType, ...] = (linefile, durable)
    try:
        for module in modules:
            module.os = _Os(disk)  # type: ignore[attr-defined]
        yield
    finally:
        for module in modules:
            module.os = os  # type: ignore[attr-defined]
