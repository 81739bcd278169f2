"""A real RabbitMQ, and what its queues hold."""

import base64
import contextlib
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from support.authority import Authority
from support.broker import Broker, free_port
from support.tools import need

QUEUE = "dispositions"
_PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # what is on the PATH changes to another user


# What somebody may write to, as a pattern.
WRITER, READER = "writer", "reader"
PASSWORD = "p@ss/w:rd% 1"
_USERS = {"guest": ("guest", ".*"), WRITER: (PASSWORD, ".*"), READER: (PASSWORD, "^$")}
MAX_BYTES = 600_000


class RabbitMQ(Broker):
    """On free ports of the loopback, with TLS for clients that show a certificate, and with an epmd of its own.

    `guest` may do everything, WRITER and READER may make nothing, and READER may not even write.

    Attributes:
        authority: of its certificate, and of those that it takes.
        tls_port: where it speaks TLS.

    Args:
        folder: an empty one; the server keeps everything there.
    """

    def __init__(self, folder: Path) -> None:
        need("rabbitmq-server", package="rabbitmq-server")
        port, self.tls_port = free_port(), free_port()
        self.authority = Authority(folder)
        certificate = self.authority.issue("server")
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{port}",
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
            f"ssl_options.cacertfile = {self.authority.ca_file}",
            f"ssl_options.certfile = {certificate}",
            f"ssl_options.keyfile = {certificate}",
            "ssl_options.verify = verify_peer",
            "ssl_options.fail_if_no_peer_cert = true",
            f"load_definitions = {folder}/definitions.json",
            f"max_message_size = {MAX_BYTES}",
            "log.console = true",
            "log.file = false",
        ]
        (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "definitions.json").write_text(json.dumps(_definitions()), encoding="utf-8")
        (folder / "enabled_plugins").write_text("[].\n", encoding="utf-8")
        self._registry_port = free_port()
        self._registry: subprocess.Popen[bytes] | None = None
        env = {
            "HOME": str(folder),  # for the cookie of the cluster
            "RABBITMQ_NODENAME": f"t{port}@localhost",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "ERL_EPMD_PORT": str(self._registry_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        super().__init__(
            [_PROGRAM], folder=folder, port=port, ready="started TLS (SSL) listener", ready_within_s=90.0, env=env
        )

    def start(self) -> None:
        """See `Broker`; with the registry of its name, which RabbitMQ would otherwise leave behind for ever."""
        if self._registry is None:
            where = ["-port", str(self._registry_port), "-address", "127.0.0.1"]
            self._registry = subprocess.Popen(["epmd", *where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        super().start()

    def kill(self) -> None:
        """SIGKILL to all of its processes: the first is a shell."""
        self._signal(signal.SIGKILL)
        assert self._child is not None
        self._child.wait()

    def stop(self) -> None:
        """As `kill`, which is quicker, and the registry too."""
        self.kill()
        if self._registry is not None:
            self._registry.kill()
            self._registry.wait()

    @contextlib.asynccontextmanager
    async def stall(self) -> AsyncIterator[None]:
        """See `Broker`."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._child is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, number)

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """Of a user who may do everything."""
        connection = await aio_pika.connect(host="127.0.0.1", port=self.port)
        async with connection, connection.channel() as channel:
            yield channel

    async def make_queue(self, name: str = QUEUE, *, durable: bool = True, **arguments: Any) -> None:
        """A new, empty queue in place of the one that there may be."""
        async with self.channel() as channel:
            await channel.queue_delete(name)
            named = {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}
            await channel.declare_queue(name, durable=durable, arguments=named)

    async def take(self, name: str = QUEUE) -> Sequence[AbstractIncomingMessage]:
        """Every message of a queue, which then holds none."""
        taken: list[AbstractIncomingMessage] = []
        async with self.channel() as channel:
            queue = await channel.declare_queue(name, passive=True)
            while count := (await channel.declare_queue(name, passive=True)).declaration_result.message_count:
                async with queue.iterator(no_ack=True) as messages:
                    taken += [await anext(messages) for _ in range(count)]
        return taken


def _definitions() -> dict[str, Any]:
    return {
        "users": [
            {
                "name": name,
                "password_hash": _hashed(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [],
            }
            for name, (password, _) in _USERS.items()
        ],
        "vhosts": [{"name": "/"}, {"name": "contact center"}],
        "permissions": [
            {
                "user": name,
                "vhost": vhost,
                "configure": ".*" if name == "guest" else "^$",
                "write": writable,
                "read": ".*" if name == "guest" else "^$",
            }
            for name, (_, writable) in _USERS.items()
            for vhost in (("/", "contact center") if name == "guest" else ("/",))
        ],
    }


def _hashed(password: str) -> str:
    """As RabbitMQ keeps passwords: salt, and SHA-256 of salt and password."""
    salt = b"salt"
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
