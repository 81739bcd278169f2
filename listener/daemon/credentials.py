"""Notices when a file of secrets, certificates or keys is replaced."""

from collections.abc import Iterable, Mapping
from pathlib import Path

Fingerprint = tuple[int, int, int, int] | None


class FileWatch:
    """Finds whose files have changed since the last look.

    A file replaced through a symbolic link (as Kubernetes does with a Secret) has changed too. An unreadable one has
    not: it may be in the middle of a rotation.
    """

    def __init__(self) -> None:
        self._seen: dict[str, dict[Path, Fingerprint]] = {}

    def look(self, files: Mapping[str, Iterable[Path]]) -> set[str]:
        """The names whose files have changed; those that were not there at the last look have not. Blocks."""
        now = {name: {path: fingerprint(path) for path in paths} for name, paths in files.items()}
        changed = {name for name, seen in now.items() if name in self._seen and _differs(self._seen[name], seen)}
        for name, seen in now.items():
            before = self._seen.get(name, {})
            now[name] = {path: mark if mark is not None else before.get(path) for path, mark in seen.items()}
        self._seen = now
        return changed


def _differs(before: Mapping[Path, Fingerprint], now: Mapping[Path, Fingerprint]) -> bool:
    return any(mark is not None and path in before and before[path] != mark for path, mark in now.items())


def fingerprint(path: Path) -> Fingerprint:
    """What changes with a file, through symbolic links too; None if it is not there. Blocks."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # no file can be called so
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
