"""The files of an audit trail: what stands beside the one that is written, those that are closed, and their order."""

import contextlib
import gzip
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import structlog

from listener.audit.chain import Head, end_of, first_link, link_of
from listener.audit.reading import blocks_of, lines_from, lines_of
from listener.runtime.durable import sync_file, sync_folder

CHECKPOINTS, KEY, PUBLIC_KEY = ".checkpoints", ".key", ".pub"
"""The endings of what stands beside an audit file."""

QUARANTINED = ".quarantined-"
"""How the ending of a file begins that lines were moved to which the journal never delivered."""

NEXT = ".next"
"""The ending of a private key that is to take the place of the one of this name without it."""

_BESIDE = (CHECKPOINTS, KEY, PUBLIC_KEY, NEXT, ".lock", ".part")

_log = structlog.get_logger(__name__)
_BLOCK_BYTES = 1024 * 1024
_LOOKED_AT = 16
_ENOUGH = 1000  # lines at the end, one of which is of the chain
_DAY_S = 86_400.0


class Paths(NamedTuple):
    """The names around an audit file."""

    file: Path

    @property
    def checkpoints(self) -> Path:
        """The signed checkpoints."""
        return self.file.with_name(self.file.name + CHECKPOINTS)

    @property
    def key(self) -> Path:
        """The private key, unless another one is configured."""
        return self.file.with_name(self.file.name + KEY)

    @property
    def public_key(self) -> Path:
        """Its public half."""
        return self.file.with_name(self.file.name + PUBLIC_KEY)


def of_the_trail(paths: Iterable[Path]) -> list[Path]:
    """The paths, each once, without what stands beside an audit file, which `dispositions.jsonl*` fits as well.

    They are told by their names alone, for whoever verifies a trail need not be able to read the key.
    """
    named = dict.fromkeys(paths)
    return [path for path in named if path.suffix not in _BESIDE and not path.suffix.startswith(QUARANTINED)]


def beside(files: Iterable[Path], ending: str) -> list[Path]:
    """What is there of this ending beside the file that these are, or were before their rotation."""
    found: dict[Path, None] = {}
    for file in files:
        name = file.name
        while name:
            if (path := file.with_name(name + ending)).is_file():
                found[path] = None
            name = name.rpartition(".")[0]
    return list(found)


def in_order(paths: Iterable[Path]) -> list[Path]:
    """The files as they were written, by their first records; those without any come first, as they are given."""
    return sorted(paths, key=beginning)


def beginning(path: Path) -> int:
    """Roughly the number of the first record in a file, -1 where it holds none. Raises OSError.

    The one in the middle of the first three: one that was put there from elsewhere does not mislead.
    """
    links = (link for block in blocks_of(path) for line in block.lines if (link := link_of(line)) is not None)
    numbers = sorted(link.number for link in islice(links, 3))
    return numbers[len(numbers) // 2] if numbers else -1


class Closed:
    """The closed files of one audit file: those that were renamed here, and no others.

    They are called `FILE.20261124T192512Z`, with `-2` and so on where one is there already, and `.gz` behind that.

    Args:
        path: the file that is written.
        compress: whether closed files are packed with gzip.
        keep_files: how many closed files stay; None for all.
        keep_days: for how long they stay after their last line; None for ever.
    """

    def __init__(self, path: Path, *, compress: bool, keep_files: int | None, keep_days: float | None) -> None:
        self._path = path
        self._compress = compress
        self._keep_files = keep_files
        self._keep_days = keep_days
        self._ours = re.compile(re.escape(path.name) + r"\.\d{8}T\d{6}Z(?:-\d+)?(?:\.gz)?")

    def close(self, now_s: float) -> Path:
        """Rename the file, durably; returns its new name. Raises OSError."""
        stamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{self._path.name}.{stamp}"
        number, place = 1, self._path.with_name(name)
        while place.exists() or place.with_name(place.name + ".gz").exists():
            number += 1
            place = self._path.with_name(f"{name}-{number}")
        self._path.rename(place)
        sync_folder(place.parent)
        return place

    def files(self) -> list[Path]:
        """Those that are there, the oldest first."""
        found = [place for place in self._path.parent.iterdir() if self._ours.fullmatch(place.name)]
        return sorted(found, key=_age)

    def tidy(self, now_s: float, stopped: Callable[[], bool]) -> None:
        """Compress and delete what is due. A crash at any point leaves a file or its packed form, whole.

        Args:
            now_s: epoch seconds.
            stopped: asked now and then; True ends it early, the rest is done at the next time.
        """
        try:
            self._delete(now_s)
            for place in self.files() if self._compress else ():
                if place.suffix != ".gz" and not stopped():
                    self._pack(place, stopped)
        except OSError as exc:
            _log.warning("audit_file_cleanup_failed", path=str(self._path), reason=exc.strerror or str(exc))

    def _delete(self, now_s: float) -> None:
        found = self.files()
        surplus = found[: max(0, len(found) - self._keep_files)] if self._keep_files is not None else []
        for place in found:
            old = self._keep_days is not None and place.stat().st_mtime < now_s - self._keep_days * _DAY_S
            if old or place in surplus:
                place.unlink()
                _log.info("audit_file_deleted", path=str(place), reason="keep_days" if old else "keep_files")

    def _pack(self, place: Path, stopped: Callable[[], bool]) -> None:
        packed = place.with_name(place.name + ".gz")
        fresh = place.with_name(place.name + ".gz.part")
        fresh.unlink(missing_ok=True)
        with place.open("rb") as source, fresh.open("xb") as target:
            found = os.fstat(source.fileno())
            os.fchmod(target.fileno(), found.st_mode & 0o777)
            with gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=int(found.st_mtime)) as file:
                while block := source.read(_BLOCK_BYTES):
                    if stopped():
                        return
                    file.write(block)
            target.flush()
            sync_file(target.fileno())
        os.utime(fresh, ns=(found.st_atime_ns, found.st_mtime_ns))
        fresh.rename(packed)
        sync_folder(packed.parent)
        place.unlink()
        _log.info("audit_file_compressed", path=str(packed))


def _age(place: Path) -> tuple[str, int]:
    stamp, _, number = place.name.removesuffix(".gz").rpartition(".")[2].partition("-")
    return stamp, int(number or 1)


def predecessors(path: Path) -> list[Path]:
    """Files beside this one that may hold what was in it before, the youngest first.

    Whoever rotates puts a number or a date behind the name, or before its ending: `events.jsonl.1`,
    `events.jsonl-20261124.gz`, `events-20261124.jsonl`.
    """
    stem, ending = path.stem, path.suffix
    rotated = re.compile(rf"{re.escape(stem)}(?:{re.escape(ending)})?[.-]\d.*(?<!\.part)")
    found = [place for place in path.parent.iterdir() if rotated.fullmatch(place.name) and place.is_file()]
    return sorted(found, key=lambda place: place.stat().st_mtime_ns, reverse=True)[:_LOOKED_AT]


def newest_end(path: Path) -> Head | None:
    """The head of the longest chain in a file that was this one; None if none has a chain."""
    heads = [head for place in predecessors(path) if (head := end_of(reversed(last_lines(place, _ENOUGH))))]
    return max(heads, key=lambda head: head.size, default=None)


def lines_before(path: Path, fd: int, count: int) -> Iterator[bytes]:
    """About the last `count` lines of the files before this one, as far as they are found beside it."""
    wanted = first_link(line for _, line in lines_from(fd, 0))
    for place in predecessors(path):
        if count <= 0 or (wanted is not None and not wanted.number):
            return
        lines = last_lines(place, count)
        if wanted is None or end_of(reversed(lines)) == Head(wanted.number, wanted.previous):
            yield from lines
            count -= len(lines)
            wanted = first_link(lines) or wanted


def last_lines(path: Path, count: int) -> Sequence[bytes]:
    """The last `count` lines of a file, at most. Empty if it cannot be read: then it tells nothing."""
    with contextlib.suppress(OSError):
        return list(deque(lines_of(path), maxlen=count))
    return ()
