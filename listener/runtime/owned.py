"""Files that are this process's own: no symbolic link leads elsewhere, and no other user has made them."""

import errno
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
        raise _refusal(path, "it is not a regular file")
    if found.st_uid not in (os.geteuid(), 0) and found.st_uid != path.parent.stat().st_uid:
        raise _refusal(path, f"it belongs to another user (uid {found.st_uid})")


def _refusal(path: Path, why: str) -> OSError:
    return OSError(errno.EINVAL, why, str(path))
