"""A PostgreSQL for the time of a demo: in a temporary folder, and reached over a socket in there alone."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from listener.cli.demo_board import until
from listener.errors import StartError

USER = "listener"
_DEBIAN = Path("/usr/lib/postgresql")
_ACCOUNT = "postgres"  # it refuses to run as root
_START_S = 30.0
_STOP_S = 10.0


def programs() -> Path:
    """The folder of the newest `initdb` and `postgres`, which Debian keeps out of the path. Raises StartError."""
    versions = sorted(_DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    for folder in (*versions, *map(Path, os.get_exec_path())):
        if all(shutil.which(name, path=str(folder)) for name in ("initdb", "postgres")):
            return folder
    raise StartError("demo: --replicas needs the programs of PostgreSQL (Debian: apt-get install postgresql)")


@asynccontextmanager
async def temporary_postgres(log: Path) -> AsyncIterator[str]:
    """The URL of a server that is stopped at the end, and its folder removed. It fsyncs as any other.

    Args:
        log: the file for what its programs say.

    Raises:
        StartError: it cannot be started, with what to do about it.
    """
    found, account = programs(), _account()
    folder = Path(tempfile.mkdtemp(prefix="disposition-postgres-"))
    try:
        if account:
            shutil.chown(folder, account["user"], account["group"])
        with log.open("ab") as output:
            data = folder / "data"
            arguments = ["-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale", "C"]
            options = {"cwd": folder, "stdout": output, "stderr": output, **account}
            making = spawn([found / "initdb", *arguments], **options)
            try:
                if not await has_ended(making, within_s=_START_S) or making.returncode:
                    raise StartError(f"demo: initdb failed; {log} has its reason")
            finally:
                making.kill()
            settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}"]
            server = spawn([found / "postgres", "-D", data, *settings], **options)
            try:
                await until(lambda: server.poll() is not None or _is_ready(data), within_s=_START_S)
                if not _is_ready(data):
                    raise StartError(f"demo: PostgreSQL did not start; {log} has its reason")
                yield f"postgresql:///postgres?host={folder}"
            finally:
                await _stop(server)
    finally:
        shutil.rmtree(folder)


def _account() -> Mapping[str, Any]:
    """Who it runs as: us, unless we are root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam(_ACCOUNT)
    except KeyError:
        text = f"demo: PostgreSQL does not run as root, and there is no account {_ACCOUNT}: run this as somebody else"
        raise StartError(text) from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def spawn(command: list[Any], **more: Any) -> "subprocess.Popen[bytes]":
    """In a session of its own, which Ctrl-C does not reach: it is stopped when nobody needs it any more."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **more)  # noqa: S603 - ours alone


async def has_ended(process: "subprocess.Popen[bytes]", *, within_s: float) -> bool:
    """Wait for its end; returns whether it came in time."""
    return await until(lambda: process.poll() is not None, within_s=within_s)


async def _stop(server: "subprocess.Popen[bytes]") -> None:
    """SIGINT ends its sessions, SIGQUIT its processes."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        server.send_signal(number)
        if await has_ended(server, within_s=_STOP_S):
            return


def _is_ready(data: Path) -> bool:
    """Its file says so in the last line."""
    file = data / "postmaster.pid"
    return file.exists() and file.read_text(encoding="ascii").rstrip().endswith("ready")
