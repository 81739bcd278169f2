"""A real rsyslog that listens on loopback, with files of its own."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from support.eventually import eventually
from support.tools import lacking, need

_LIBRARIES = Path("/usr/lib")


class Rsyslog:
    """imtcp and omfile: each message becomes a line of `template`.

    Args:
        folder: where it keeps its files.
        template: the lines, in rsyslog's properties.
        driver: `ptcp`, or `gtls` or `ossl` for TLS.
        files: for TLS those of the authority (`CA`), the certificate (`Cert`) and its key (`Key`).
        queue: settings of the ruleset, such as a queue on disk.
    """

    def __init__(
        self,
        folder: Path,
        *,
        template: str = "%rawmsg%",
        driver: str = "ptcp",
        files: Mapping[str, Path] | None = None,
        queue: str = "",
    ) -> None:
        self._program = need("rsyslogd", package="rsyslog")
        if not any(_LIBRARIES.glob(f"*/rsyslog/lmnsd_{driver}.so")):
            lacking(f"rsyslog has no {driver} (Debian: apt-get install rsyslog-gnutls rsyslog-openssl)")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._folder = folder
        folder.mkdir()
        tls = " ".join(f'DefaultNetstreamDriver{name}File="{path}"' for name, path in (files or {}).items())
        mode = 'StreamDriver.Mode="1" StreamDriver.AuthMode="anon"' if tls else ""
        (folder / "rsyslog.conf").write_text(
            f'global(workDirectory="{folder}" DefaultNetstreamDriver="{driver}" {tls})\n'
            f'module(load="imtcp" StreamDriver.Name="{driver}" {mode})\n'
            f'template(name="line" type="string" string="{template}\\n")\n'
            f'input(type="imtcp" port="{self.port}" address="127.0.0.1" ruleset="all")\n'
            f'ruleset(name="all" {queue}) {{ action(type="omfile" file="{folder}/lines" template="line") }}\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Listen; after a `kill`, on the same port again."""
        (self._folder / "pid").unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - returns at once; it is waited for below
                [self._program, "-n", "-f", self._folder / "rsyslog.conf", "-i", self._folder / "pid"],
                stdout=log,
                stderr=log,
            )
        await eventually(self._listens, what=(self._folder / "log").read_text)

    async def stop(self, number: int = signal.SIGTERM) -> None:
        """End it with a signal. Idempotent."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()

    async def lines(self, count: int) -> list[str]:
        """All lines, once there are at least `count`."""
        return await eventually(lambda: found if len(found := self._lines()) >= count else [])

    def _lines(self) -> list[str]:
        path = self._folder / "lines"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()
