"""Files that are what they are taken for: our own, with no link that leads elsewhere, or at least files."""

import errno
import io
import os
import stat
from pathlib import Path


def open_owned(path: Path, flags: int, mode: int = 0o600) -> int:
    """`os.open` of a regular file that this process owns; returns the descriptor.

    An owner is this process's user, root, or whoever owns the folder, since that one decides what is in it. Anybody
    else may have put the file there to be trusted, or a link to have another file overwritten.

    Args:
        path: the file.
        flags: as for `os.open`. With O_TRUNC another user's file would be emptied before it is refused.
        mode: permission bits of a file that is made here, less the umask.

    Raises:
        OSError: as `os.open`, and for what is refused: it names the file, and `strerror` says why.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as exc:
        if exc.errno == errno.ELOOP and path.is_symlink():
            raise _refusal(path, "it is a symbolic link") from None
        raise
    try:
        _require(path, os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def require_owned(path: Path) -> None:
    """Raise what `open_owned` would for a file that another library opens by its name; none is no error."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    _require(path, found)


def open_to_read(path: Path, *, or_pipe: bool = False) -> io.FileIO:
    """A regular file of whomever. Never waits, as for the writer of a named pipe, and takes nothing without an end.

    Args:
        path: the file, or a link to one.
        or_pipe: a pipe will do, such as a shell's `<(command)`. One that nobody writes to is empty.

    Raises:
        OSError: as `os.open`, and for what is refused: it names the file, and `strerror` says why.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISREG(mode) or (or_pipe and stat.S_ISFIFO(mode))):
            raise _no_file(path)
        os.set_blocking(descriptor, True)
    except OSError:
        os.close(descriptor)
        raise
    return io.FileIO(descriptor)


def regular(path: Path) -> Path:
    """The same path, for a library that opens it itself. Raises what `open_to_read` would for what is no file."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise _no_file(path)
    return path


def refusal_to_write(path: Path) -> str | None:
    """Why the host would not let this process write to a file or a folder that exists; None if it would."""
    if os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0)):
        return None
    read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    return os.strerror(errno.EROFS if read_only else errno.EACCES)


def _require(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _refusal(path, "it is a symbolic link")
    if not stat.S_ISREG(found.st_mode):
        raise _no_file(path)
    if found.st_uid not in (os.geteuid(), 0) and found.st_uid != path.parent.stat().st_uid:
        raise _refusal(path, f"it belongs to another user (uid {found.st_uid})")


def _no_file(path: Path) -> OSError:
    return _refusal(path, "it is not a regular file")


def _refusal(path: Path, why: str) -> OSError:
    return OSError(errno.EINVAL, why, str(path))
