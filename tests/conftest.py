"""Fixtures for every test folder: factories that clean up after themselves, in reverse order."""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import AsyncExitStack, nullcontext
from pathlib import Path

import hypothesis
import pytest

from support.bayeux import BayeuxServer
from support.faultproxy import FaultProxy
from support.process import Command, Daemon
from support.rabbitmq import RabbitMQ
from support.receiver import Receiver
from support.stalls import SteadyLoop, stalled
from support.virtual import VirtualLoop
from support.workers import ByFile, longest_first

StartBayeux = Callable[..., Awaitable[BayeuxServer]]
StartDaemon = Callable[..., Awaitable[Daemon]]
StartCommand = Callable[..., Awaitable[Command]]
LinkTo = Callable[[int], Awaitable[FaultProxy]]

pytest.register_assert_rewrite("listener.testing.contract")

# Each worker would compile hundreds of test files anew in each run, and take longer for it than for anything else.
sys.dont_write_bytecode = False

# A machine that is busy elsewhere is no counterexample.
hypothesis.settings.register_profile(
    "steady", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("steady")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--stall", type=float, default=0.0, metavar="SECONDS", help="stall this process once in each test, for so long"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    stall_s = item.config.getoption("--stall")
    with stalled(stall_s) if stall_s else nullcontext():
        return (yield)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, type[asyncio.SelectorEventLoop]]:
    return {"loop": VirtualLoop if item.get_closest_marker("virtual") else SteadyLoop}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items)


def pytest_collection_finish() -> None:
    """What collecting created stays: the garbage collector would look through all of it again and again."""
    gc.freeze()


@pytest.fixture
async def owned() -> AsyncIterator[AsyncExitStack]:
    """What a test started; all of it is stopped when the test is over."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start_bayeux(owned: AsyncExitStack) -> StartBayeux:
    """Start a real Bayeux server.

    `await start_bayeux("cometd" | "cometd-no-ack" | "faye", *options)`
    """

    async def start(kind: str, *options: str) -> BayeuxServer:
        return await owned.enter_async_context(BayeuxServer(kind, options=options))

    return start


@pytest.fixture
def start_daemon(owned: AsyncExitStack) -> StartDaemon:
    """Start the real daemon in a process of its own.

    `await start_daemon(config, env={…})`
    """

    async def start(config: Path, *, env: Mapping[str, str] | None = None) -> Daemon:
        return await owned.enter_async_context(Daemon(config, env=env))

    return start


@pytest.fixture
def start_command(owned: AsyncExitStack, tmp_path: Path) -> StartCommand:
    """Start any other command in `tmp_path`.

    `await start_command("check", "--config", path, env={…})`
    """

    async def start(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Command:
        return await owned.enter_async_context(Command(*arguments, folder=tmp_path, env=env))

    return start


@pytest.fixture
def link_to(owned: AsyncExitStack) -> LinkTo:
    """Put a link that can go bad before a port.

    `await link_to(port)`
    """

    async def link(port: int) -> FaultProxy:
        return await owned.enter_async_context(FaultProxy(port))

    return link


@pytest.fixture
async def receiver(owned: AsyncExitStack) -> Receiver:
    """A real HTTP receiver for webhooks, running."""
    return await owned.enter_async_context(Receiver())


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker that all tests share, because it takes seconds to start."""
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker
