"""Notices that the files of a configuration have changed and come to rest."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from listener.config.loading import Files, files_of
from listener.config.sources import included
from listener.daemon.credentials import Fingerprint, fingerprint
from listener.errors import ConfigError

_Seen = dict[Path, Fingerprint]


class ConfigurationWatch:
    """The files of one configuration: the main one, those that it includes, the file or folder of accounts.

    It looks at them from time to time, since no notice of a change comes from every file system. A folder changes with
    its names, also where Kubernetes exchanges all of them through `..data`. What changes between two looks is not at
    rest, and is waited for: a file that is half written counts only if its writer pauses for so long.

    Nothing is read before the first `take`.

    Args:
        path: the main file; None where all of it is environment.
        environ: as for `loading.load`.
    """

    def __init__(self, path: Path | None, environ: Mapping[str, str] = os.environ) -> None:
        self._path = path
        self._environ = environ
        self._files = Files(Path(), (), () if path is None else (path,), ())
        self._taken = self._last = self._seen()
        self._wanted = self._to_come()

    def take(self) -> None:
        """What is there now is what is read next. Blocks for as long as reading the configuration takes."""
        with suppress(ConfigError):  # what it consisted of before will do until it can be read
            self._files = files_of(self._path, environ=self._environ)
        self._taken = self._last = self._seen()
        self._wanted = self._to_come()

    def look(self, *, named_too: bool) -> bool:
        """Whether the files differ from those taken, and have not changed since the last look. Blocks, not for long.

        Args:
            named_too: whether the files that settings name count as well, and folders that sinks write to: once the
                configuration was refused, what was missing may come.
        """
        now = self._seen()
        at_rest, self._last = now == self._last, now
        return at_rest and (now != self._taken or (named_too and self._wanted != self._to_come()))

    def _seen(self) -> _Seen:
        base = self._files.base
        names = [name for pattern in self._files.patterns for name in included(self._path, base, pattern)]
        return _fingerprints([*self._files.parts, *(base / name for name in names)])

    def _to_come(self) -> tuple[_Seen, dict[Path, bool]]:
        return _fingerprints(self._files.named), {folder: _can_be_written(folder) for folder in self._files.folders}


def _can_be_written(folder: Path) -> bool:
    try:
        return folder.is_dir() and os.access(folder, os.W_OK)
    except (OSError, ValueError):  # no folder can be called so
        return False


def _fingerprints(paths: Iterable[Path]) -> _Seen:
    return {path: fingerprint(path) for path in paths}
