"""A real PostgreSQL server, and what its tables hold."""

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO, Any

import asyncpg

from support.authority import Authority
from support.broker import Broker, free_port, is_stopped
from support.disks import Disk
from support.eventually import eventually
from support.tools import lacking

TABLE = "dispositions"
_ADMIN = "admin"
_ACCOUNT = "postgres"  # it refuses to run as root
_GONE_WITHIN_S = 10.0


class PostgresServer(Broker):
    """On a free port of the loopback.

    It has a temporary folder of its own: it may run as another account, and pytest closes its folders to others.

    Args:
        options: more of its configuration, or other values of it.
        hba: who may log in from the loopback how; `admin` is trusted.
        follows: the server that it is a standby of, under the name `standby`.
        disk: holds its data.
    """

    def __init__(
        self,
        *,
        hba: str = "host all all all trust",
        follows: "PostgresServer | None" = None,
        disk: Disk | None = None,
        **options: str | int | Path,
    ) -> None:
        program = _program("postgres")  # first: the account comes with Debian's package, as the program does
        port = free_port()
        folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self.folder = folder
        self.data = (disk.place if disk else folder) / "data"
        self._enter = disk.enter if disk else ()
        seen = (disk.outside if disk else folder) / "data"
        if os.geteuid() == 0:
            for place in (folder, seen.parent):
                shutil.chown(place, _ACCOUNT, _ACCOUNT)
        if follows:
            source = f"host=127.0.0.1 port={follows.port} user={_ADMIN} application_name=standby"
            self._run(_program("pg_basebackup"), "-D", self.data, "-d", source, "-R", "-X", "stream", "-c", "fast")
        else:
            _cluster().seek(0)
            self._run("tar", "-C", self.data.parent, "-x", stdin=_cluster())
        admin = f"local all all trust\nhost all {_ADMIN} all trust\nhost replication {_ADMIN} all trust\n"
        (seen / "pg_hba.conf").write_text(f"{admin}{hba}\n", encoding="utf-8")
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "shared_buffers": "16MB",
            **options,
        }
        argv = [*self._enter, *as_account(), program, "-D", self.data, "-p", str(port)]
        argv += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        super().__init__(argv, folder=folder, port=port, ready="database system is ready to accept", ready_within_s=30)

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        shutil.rmtree(self.folder)

    @property
    def address(self) -> str:
        return f"postgresql://127.0.0.1:{self.port}/postgres"

    @contextlib.asynccontextmanager
    async def client(self, **login: Any) -> AsyncIterator[Any]:
        """A connection as `admin`."""
        options = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": _ADMIN,
            "database": "postgres",
            "ssl": False,
            **login,
        }
        client = await asyncpg.connect(**options)
        try:
            yield client
        finally:
            await client.close()

    async def execute(self, *statements: str, **login: Any) -> None:
        async with self.client(**login) as client:
            for statement in statements:
                await client.execute(statement)

    async def fetch(self, query: str, **login: Any) -> list[Any]:
        async with self.client(**login) as client:
            return list(await client.fetch(query))

    async def events(self, table: str = TABLE) -> Sequence[Any]:
        """In the order of the journal; none where there is no table."""
        async with self.client() as client:
            if await client.fetchval("SELECT to_regclass($1)", table) is None:
                return []
            query = f"SELECT event FROM {table} ORDER BY sequence"  # noqa: S608 - the tests' own tables
            return [json.loads(row["event"]) for row in await client.fetch(query)]

    async def empty(self, table: str = TABLE) -> None:
        await self.execute(f"DROP TABLE IF EXISTS {table}")

    async def secure(self, authority: Authority) -> None:
        """Start it anew with a certificate of this authority, which has to have issued those of clients as well."""
        for source, name in ((authority.issue("server"), "server.pem"), (authority.ca_file, "ca.pem")):
            shutil.copy(source, self.data / name)
            shutil.chown(self.data / name, self.data.owner(), self.data.group())
            (self.data / name).chmod(0o600)
        files = {"ssl_cert_file": "server.pem", "ssl_key_file": "server.pem", "ssl_ca_file": "ca.pem", "ssl": "on"}
        await self.execute(*(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in files.items()))
        self.stop()
        self.start()

    def kill(self) -> None:
        """SIGKILL to all its processes, which are in sessions of their own; a new start has to wait for the last."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP)  # it begins no session that would be missed below
        children = self._children()
        super().kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        deadline = time.monotonic() + _GONE_WITHIN_S
        while any(map(_lives, children)) and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextlib.asynccontextmanager
    async def stall(self) -> AsyncIterator[None]:
        """The kernel takes connections, and nobody answers."""
        async with super().stall():
            children = self._children()
            for child in children:
                os.kill(child, signal.SIGSTOP)
            try:
                await eventually(lambda: all(map(is_stopped, children)), what="every session stands still")
                yield
            finally:
                for child in children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGCONT)

    def cpu_s(self) -> float:
        """Seconds on a core of all its processes, of those that have ended too."""
        assert self._child is not None
        pids = [self._child.pid, *self._children()]
        return sum(map(_cpu_s, pids)) + _ended_cpu_s(self._child.pid)

    def lives(self) -> bool:
        """Whether it has not ended by itself."""
        return self._child is not None and self._child.poll() is None

    def _run(self, *argv: str | Path, stdin: IO[bytes] | None = None) -> None:
        whole = [*self._enter, *as_account(), *argv]
        subprocess.run(whole, check=True, stdin=stdin, capture_output=True, cwd=self.folder)

    def _children(self) -> list[int]:
        assert self._child is not None
        listed = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children")
        return [int(word) for word in listed.read_text(encoding="ascii").split()] if listed.exists() else []


@functools.cache
def _cluster() -> IO[bytes]:
    """What a server begins with, as an archive that has no name: unpacking it costs a fifth of another initdb."""
    archive = tempfile.TemporaryFile()  # noqa: SIM115 - it stays open for as long as this process lives
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        if os.geteuid() == 0:
            shutil.chown(folder, _ACCOUNT, _ACCOUNT)
        making = [*as_account(), _program("initdb"), "-D", f"{folder}/data", "-U", _ADMIN]
        making += ["-A", "trust", "-N", "-E", "UTF8", "--locale", "C"]
        subprocess.run(making, check=True, capture_output=True, cwd=folder)
        subprocess.run(["tar", "-C", folder, "-c", "data"], check=True, stdout=archive)
    return archive


def _program(name: str) -> str:
    """The newest that is installed; Debian keeps the server's programs out of the path."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    found = shutil.which(name, path=os.pathsep.join([*map(str, reversed(folders)), os.environ.get("PATH", "")]))
    if found is None:
        lacking(f"{name} is not installed (Debian: apt-get install postgresql)")
    assert found is not None
    return found


def _lives(pid: int) -> bool:
    """Whether a process still holds anything: one that nobody has waited for does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def _cpu_s(pid: int) -> float:
    """Seconds on a core of a process of one thread."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def _ended_cpu_s(pid: int) -> float:
    """The same of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")


def as_account() -> list[str]:
    """How a program of a database is started as its account, where we are root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", _ACCOUNT, "--regid", _ACCOUNT, "--clear-groups"]
