"""How many files, and so connections, this process may have open."""

import resource
from contextlib import suppress

_WANTED = 65_536


def allowed() -> int | None:
    """How many files the host allows this process to have open; None for as many as it likes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard == resource.RLIM_INFINITY else hard


def open_as_many_files_as_allowed() -> None:
    """Raise the soft limit as far as the host allows: each session holds one poll on one socket."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
