"""The damage marker beside a journal: if it is there, the next open checks the whole journal."""

import os
from contextlib import suppress
from pathlib import Path

import structlog

from listener.runtime.owned import open_owned

_log = structlog.get_logger(__name__)


def path_of(journal: Path) -> Path:
    """The marker file."""
    return journal.with_name(f"{journal.name}.suspect")


def leave(journal: Path, reason: str) -> None:
    """Leave the marker, durably; a failure is logged, and the next one retries."""
    if exists(journal):
        return
    try:
        descriptor = open_owned(path_of(journal), os.O_WRONLY | os.O_CREAT)
        try:
            os.pwrite(descriptor, reason.encode(errors="replace"), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        _log.error("journal_damage_not_noted", path=str(journal), error=str(exc))
    _log.error("journal_damage_found", path=str(journal), error=reason)


def exists(journal: Path) -> bool:
    """Whether there is a marker."""
    return path_of(journal).exists()


def remove(journal: Path) -> None:
    """Remove the marker, if there is one."""
    with suppress(FileNotFoundError):
        path_of(journal).unlink()
