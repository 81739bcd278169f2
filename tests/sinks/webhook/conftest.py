"""Webhook sinks, and receivers behind TLS."""

import pytest

from listener.config.lane import LaneSettings
from listener.runtime.host import THIS_HOST
from listener.sinks import registry
from support.authority import Authority
from support.receiver import Receiver


@pytest.fixture
async def make_sink(tmp_path):
    """Open sinks; closed at the end."""
    made = []

    async def make(url, *, opened=True, host=THIS_HOST, **options):
        sink = registry.build("crm", LaneSettings(type="webhook", url=url, **options), base=tmp_path, host=host)
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
async def tls_receiver(owned, authority) -> Receiver:
    return await owned.enter_async_context(Receiver(tls=authority.server()))
