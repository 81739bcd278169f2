import asyncio
import contextlib
from pathlib import Path

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.testing.contract import SinkContract
from listener.testing.events import sample_event
from support.authority import Authority
from support.syslogd import Syslogd


class SyslogPlace:
    """A receiver that writes before it reads on; what the contract says of durability holds for such a one."""

    exactly_once = False
    largest = 500_000
    of_the_host = False

    def __init__(self, syslogd, among_friends, authority):
        self._syslogd = syslogd
        self._among_friends = among_friends
        self._authority = str(authority)

    def sink(self):
        return _sink(self._syslogd.port, tls=False)

    async def events(self):
        return self._syslogd.bodies()

    @contextlib.asynccontextmanager
    async def outage(self):
        await self._syslogd.kill()
        yield
        await self._syslogd.start()

    @contextlib.asynccontextmanager
    async def stall(self):
        with self._syslogd.stopped():
            yield

    def denied(self):
        """It wants to see a certificate."""
        return _sink(self._among_friends, ca_file=self._authority)

    def poison(self, event):
        return sample_event(event.sequence, chat=event.subject, data_bytes=600_000, sequence=event.sequence)


def _sink(port, **options):
    table = LaneSettings(type="syslog", host="127.0.0.1", port=port, max_bytes=600_000, **options)
    return registry.build("sink", table, base=Path())


@pytest.fixture(scope="module")
def among_friends(tmp_path_factory):
    """The port of a receiver that wants to see a certificate, and the authority of its own."""
    folder = tmp_path_factory.mktemp("friends")
    authority = Authority(folder)
    syslogd = Syslogd(folder / "got", tls=(authority.issue("server"), authority.ca_file))
    asyncio.run(syslogd.start())
    yield syslogd.port, authority.ca_file
    asyncio.run(syslogd.kill())


class TestSyslog(SinkContract):
    @pytest.fixture
    async def place(self, tmp_path, owned, among_friends):
        return SyslogPlace(await owned.enter_async_context(Syslogd(tmp_path / "got")), *among_friends)
