"""What the acceptance tests start beside the daemon."""

import os
import ssl
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from shutil import which
from typing import Any

import aiohttp
import pytest

from listener.simulator import Simulator, SimulatorOptions
from support.bayeux import BayeuxServer
from support.listening import Listening
from support.params import some_of
from support.publishing import CometdSite, SimulatedSite, Site
from support.stage import Stage
from support.wallclock import faketime_library

MAX_INTERVAL_MS = 20_000  # how long a site waits for a process that is gone
HOLD_MS = 1000


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    """A TLS context for a server whose certificate nobody has signed."""
    if which("openssl") is None:
        pytest.skip("openssl is not installed")
    both = tmp_path_factory.mktemp("tls") / "server.pem"
    request = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = subprocess.run([*request, *names, "-keyout", "-", "-out", "-"], check=True, capture_output=True)
    both.write_bytes(made.stdout)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context


@pytest.fixture(scope="session")
def faketime() -> Path:
    """The library that moves the wall clock of one process."""
    found = faketime_library()
    if found is None:
        reason = "libfaketime is not installed"
        pytest.fail(reason) if os.environ.get("LISTENER_TEST_REQUIRE_SERVERS") else pytest.skip(reason)
    return found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that programs of other accounts may enter, which pytest's own may not be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
async def http(owned):
    """A client for control endpoints; an answer that is no success is an error."""
    return await owned.enter_async_context(aiohttp.ClientSession(raise_for_status=True))


async def _cometd(owned: AsyncExitStack, kind: str) -> Site:
    options = ("--timeout-ms", str(HOLD_MS), "--max-interval-ms", str(MAX_INTERVAL_MS))
    return CometdSite(await owned.enter_async_context(BayeuxServer(kind, options=options)))


async def _simulated(owned: AsyncExitStack, *, ack: bool) -> Site:
    options = SimulatorOptions(agents=1, ack=ack, timeout_ms=HOLD_MS, max_interval_ms=MAX_INTERVAL_MS)
    return SimulatedSite(await owned.enter_async_context(Simulator(options)))


SITES: dict[str, Callable[[AsyncExitStack], Awaitable[Site]]] = {
    "cometd with ack": lambda owned: _cometd(owned, "cometd"),
    "cometd without ack": lambda owned: _cometd(owned, "cometd-no-ack"),
    "simulator with ack": lambda owned: _simulated(owned, ack=True),
    "simulator without ack": lambda owned: _simulated(owned, ack=False),
}


@pytest.fixture(params=some_of(SITES, "cometd with ack"))
async def site(request: pytest.FixtureRequest, owned: AsyncExitStack) -> Site:
    """Each site in turn, but for one in the long tests, or those that a test names with `indirect`."""
    return await SITES[request.param](owned)


@pytest.fixture
async def stage(owned: AsyncExitStack) -> Stage:
    """The usual one; a file whose server is to be another one has its own."""
    return await owned.enter_async_context(Stage())


@pytest.fixture
def install(owned: AsyncExitStack, tmp_path: Path) -> Callable[..., Awaitable[Listening]]:
    """An installation that listens to a site, not yet started.

    `await install(site, shutdown_timeout_s=1.0)`
    """

    async def at(site: Site, **more: Any) -> Listening:
        return await owned.enter_async_context(Listening(tmp_path, **{**site.settings, **more}))

    return at
