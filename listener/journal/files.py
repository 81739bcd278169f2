"""What a bad disk still gives of a file."""

import errno
import os
from pathlib import Path

_PIECE = 4096  # what a disk gives or refuses as one


def is_bad_sector(exc: OSError) -> bool:
    """Whether the disk refuses what it should hold."""
    return exc.errno == errno.EIO


def copy_readable(source: Path, target: Path) -> int:
    """Copy what the disk gives of a file, zeros in place of the rest; returns how many bytes those are. Blocks.

    Raises OSError: nothing can be read at all, or there is no room for the copy.
    """
    lost, refusal = 0, None
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        with target.open("wb") as copy:
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
