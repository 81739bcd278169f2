"""A syslog receiver that reads nothing on before it has written what it has: a process, to be killed with -9.

    python syslogd.py FOLDER PORT [CERTIFICATE-AND-KEY [AUTHORITY-OF-CLIENTS]]

Each connection becomes a file of what arrived over it. Over plain TCP a block leaves the socket only once it is in its
file, so that a kill in between is a reset for the sender.
"""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from support.eventually import eventually
from support.syslog import Message, frames, parse

_BLOCK = 65_536
_PORT_FILE = "port"


class Syslogd:
    """The receiver in a process of its own.

    Args:
        folder: where it keeps what it got.
        tls: the file of its certificate and key, and that of an authority if it wants to see a client's certificate.
    """

    def __init__(self, folder: Path, *, tls: tuple[Path, ...] = ()) -> None:
        self._folder = folder
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        folder.mkdir()

    async def start(self) -> None:
        """Listen; after a `kill`, on the same port again."""
        (self._folder / _PORT_FILE).unlink(missing_ok=True)
        self._process = subprocess.Popen(  # noqa: ASYNC220 - it belongs to no loop: a module keeps one over many
            [sys.executable, __file__, self._folder, str(self.port), *self._tls],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        self.port = int(await eventually(self._port_told, what="the receiver listens"))

    async def kill(self) -> None:
        """As a crash does. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """While in it the process does nothing; its host still takes connections and bytes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def connections(self) -> list[list[Message]]:
        """The whole messages of every connection, strictly parsed; connections in the order of their beginning."""
        paths = sorted(self._folder.glob("*.frames"))
        return [[parse(frame) for frame in frames(path.read_bytes())] for path in paths]

    def messages(self) -> list[Message]:
        """All of them."""
        return [message for messages in self.connections() for message in messages]

    def bodies(self) -> list[Any]:
        """Their texts as JSON."""
        return [json.loads(message.text) for message in self.messages()]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.kill()

    def _port_told(self) -> str:
        path = self._folder / _PORT_FILE
        return path.read_text() if path.exists() else ""


def read_all(connection: socket.socket) -> None:
    """What a receiver does at the least: it reads to the end, and leaves the rest to its host."""
    while connection.recv(_BLOCK):
        pass


def read_all_and_say_goodbye(connection: ssl.SSLSocket) -> None:
    """The same over TLS, as RFC 5425 (4.4) wants it."""
    read_all(connection)
    connection.unwrap().close()


def _serve(folder: Path, port: int, certificate: str = "", authority: str = "") -> None:
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority or None)
        context.load_cert_chain(certificate)
        context.verify_mode = ssl.CERT_REQUIRED if authority else ssl.CERT_NONE
    with socket.create_server(("127.0.0.1", port), backlog=100) as server:
        told = folder / ".port"
        told.write_text(str(server.getsockname()[1]))
        told.rename(folder / _PORT_FILE)
        while True:
            connection, _ = server.accept()
            path = folder / f"{time.time_ns():020}.frames"
            threading.Thread(target=_take, args=(connection, context, path), daemon=True).start()


def _take(connection: socket.socket, context: ssl.SSLContext | None, path: Path) -> None:
    with contextlib.suppress(OSError), connection, path.open("xb", buffering=0) as file:
        if context is None:
            while block := connection.recv(_BLOCK, socket.MSG_PEEK):
                file.write(block)
                _discard(connection, len(block))
        else:
            with context.wrap_socket(connection, server_side=True) as secured:
                while block := secured.recv(_BLOCK):
                    file.write(block)
                secured.unwrap()


def _discard(connection: socket.socket, count: int) -> None:
    while count:
        count -= len(connection.recv(count))


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
