"""Fixtures: the Bayeux servers that nobody here wrote, one by one and all of them."""

from collections.abc import Awaitable, Callable

import pytest

from support.bayeux import KINDS, BayeuxServer

StartBayeux = Callable[..., Awaitable[BayeuxServer]]


@pytest.fixture
async def cometd(start_bayeux: StartBayeux) -> BayeuxServer:
    """cometd-nodejs-server with the ack extension."""
    return await start_bayeux("cometd")


@pytest.fixture
async def cometd_no_ack(start_bayeux: StartBayeux) -> BayeuxServer:
    """cometd-nodejs-server without the ack extension."""
    return await start_bayeux("cometd-no-ack")


@pytest.fixture
async def faye(start_bayeux: StartBayeux) -> BayeuxServer:
    """faye: long-polling and websocket."""
    return await start_bayeux("faye")


@pytest.fixture(params=sorted(KINDS))
async def bayeux(request: pytest.FixtureRequest, start_bayeux: StartBayeux) -> BayeuxServer:
    """Each of them in turn."""
    return await start_bayeux(request.param)
