"""Syslog sinks, and receivers for them."""

import contextlib
import socket
import threading

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from support.authority import Authority
from support.syslogd import Syslogd


@pytest.fixture
async def make_sink(tmp_path):
    """Open sinks; closed at the end."""
    made = []

    async def make(port, *, opened=True, **options):
        table = LaneSettings(type="syslog", host="127.0.0.1", port=port, **options)
        sink = registry.build("siem", table, base=tmp_path)
        made.append(sink)
        if opened:
            await sink.open()
        return sink

    yield make
    for sink in made:
        await sink.close()


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def syslogd(tmp_path, owned) -> Syslogd:
    return await owned.enter_async_context(Syslogd(tmp_path / "got"))


@pytest.fixture
async def tls_syslogd(tmp_path, owned, authority) -> Syslogd:
    return await owned.enter_async_context(Syslogd(tmp_path / "got", tls=(authority.issue("server"),)))


@pytest.fixture
def serve():
    """Start a receiver in a thread; it does one thing to each connection. Returns its address."""
    servers = []

    def start(behave, tls=None):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def run():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with contextlib.suppress(OSError), connection:
                        behave(tls.wrap_socket(connection, server_side=True) if tls else connection)

        threading.Thread(target=run, daemon=True).start()
        return server.getsockname()

    yield start
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
