"""What is really on the disk: names that survive a power cut, and a sync that can be believed."""

import errno
import os
from contextlib import suppress
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in `folder` durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_path(path: Path) -> None:
    """Wait until what anybody has written to a file is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        require_sound(descriptor)
    finally:
        os.close(descriptor)


def sync_file(descriptor: int) -> None:
    """Wait until a file's data is on the disk. Raises OSError, as `require_sound` too."""
    os.fdatasync(descriptor)
    require_sound(descriptor)


def require_sound(descriptor: int) -> None:
    """Raise OSError where the file system has given up, whatever a sync said just before.

    ext4 that aborts while a sync is under way may let that succeed and forget what was written (seen with Linux 6.18,
    about once in four times). Its log is given up first; that it refuses to write comes some time later, on a busy
    machine much later, or with the next change that the log would have to take. So there is one, a new time of the
    file, and then the refusal is what a write of no bytes tells ("may detect and return errors", write(2)), without
    waiting for the disk; kernels before 6.14 show a read-only file system instead.

    Args:
        descriptor: of a file that is open for writing; its time of modification is the present one afterwards.
    """
    with suppress(PermissionError):  # opened before it was taken from this user
        os.utime(descriptor)
    os.pwrite(descriptor, b"", 0)
    if os.fstatvfs(descriptor).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
