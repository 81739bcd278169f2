"""The rooms of the house: who may import whom, and how large anything may grow.

The rules are in support/architecture.py, which support/test_architecture.py shows to fail on what is wrong.
"""

from pathlib import Path

import pytest

from support import architecture as rules
from support.architecture import load_package

ROOT = Path(__file__).parents[1]
MODULES = load_package(ROOT)

# From the top. A room may import those on lower floors, and none beside it.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("daemon",),
    ("intake", "delivery", "sinks", "testing"),
    ("journal", "audit", "cometd", "webservices", "web", "simulator", "config", "ports"),
    ("model", "runtime", "errors"),
)

# Where the floors would allow more than is wanted: these rooms know no others of ours.
ALONE = {
    "simulator": {"errors", "runtime"},  # shares no code with the client that it tries out
    "audit": {"model", "runtime", "errors"},  # an auditor needs nothing but the files
    "testing": {"ports", "model", "errors"},
    "__main__": {"cli"},
}

# What kinds of sink have in common; beyond it they do not know each other.
SHARED_BY_SINKS = ("registry", "session", "tls", "secrets", "durability", "verdict")

# Libraries that only these know.
LIBRARIES = {
    "aiocometd": ["listener.cometd"],
    "sqlite3": ["listener.journal.sqlite"],
    "prometheus_client": ["listener.runtime.metrics"],
    "cryptography": ["listener.audit", "listener.sinks"],
    "typer": ["listener.cli"],
    "rich": ["listener.cli"],
    "redis": ["listener.sinks.redis"],
    "asyncpg": ["listener.sinks.postgres", "listener.journal.postgres"],
    "nats": ["listener.sinks.nats"],
    "aiokafka": ["listener.sinks.kafka"],
    "aio_pika": ["listener.sinks.amqp"],
    "aiormq": ["listener.sinks.amqp"],
    "pytest": ["listener.testing.contract"],
}

# A task outside of a TaskGroup, and why its death cannot go unnoticed there.
LONE_TASKS = {
    "listener.audit.witness": "a sink is opened and closed apart; close() awaits the task, no delivery needs it",
    "listener.delivery.destination": "a sink is closed in it, and close() awaits it although its lane is cancelled",
    "listener.journal.shared.membership": "it beats beside a block whose errors are the caller's, and ends with that",
    "listener.testing.contract": "a test; each of its tasks is awaited before the test is over",
    "listener.daemon.probes": "a probe races the handshake against the first trouble, and ends both before it returns",
}

# Time, chance and threads come from the host that the composition root hands down, so that a simulation can hand in
# another. The loop's own executor (asyncio.to_thread) is the loop's matter.
OF_THE_HOST = ("time", "random", "secrets", "uuid", "os.urandom", "threading", "concurrent.futures.ThreadPoolExecutor")
OF_THE_HOST += ("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today")
DICE = ("random.Random",)  # thrown from a seed that is given, or handed in

# Who reaches for them all the same, and why.
REACHES_FOR_THE_HOST = {
    "listener.runtime.clock": "the clocks",
    "listener.runtime.host": "chance",
    "listener.runtime.worker": "threads",
    "listener.runtime.notify": "systemd asks for the kernel's clock by name",
}


def test_every_room_stands_on_a_floor():
    assert rules.undeclared_rooms(MODULES, FLOORS) == []


def test_arrows_run_down():
    assert rules.not_downwards(MODULES, FLOORS) == []


def test_the_house_is_seen_at_a_glance():
    arrows = rules.arrows(MODULES)
    assert len({module.room for module in MODULES}) <= 20
    assert len(arrows) <= 65, sorted(arrows)


@pytest.mark.parametrize("room", ALONE)
def test_a_room_that_is_meant_to_know_few_others_does(room: str):
    assert {target for source, target in rules.arrows(MODULES) if source == room} <= ALONE[room]


def test_no_two_modules_need_each_other():
    assert rules.import_cycles(MODULES) == []


def test_sinks_do_not_know_each_other():
    assert rules.imports_between(MODULES, room="sinks", common=SHARED_BY_SINKS) == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_stays_in_its_room(library: str):
    assert rules.imported_outside(MODULES, library, LIBRARIES[library]) == []


def test_the_protocol_core_knows_no_io_no_clock_and_no_chance():
    banned = ["asyncio", "aiohttp", "aiocometd", "time", "datetime", "random", "socket", "threading"]
    assert rules.imports_of(MODULES, "listener.cometd.protocol", banned, within="listener.cometd") == []


def test_time_chance_and_threads_come_from_the_host():
    inside = [module for module in MODULES if module.room != "cli"]
    used = rules.uses_of(inside, OF_THE_HOST, but=DICE)
    assert {name: places for name, places in used.items() if name not in REACHES_FOR_THE_HOST} == {}
    assert set(REACHES_FOR_THE_HOST) - set(used) == set(), "these no longer need an exception"


def test_all_http_clients_keep_one_policy():
    names = {f"aiohttp.{name}" for name in ("ClientSession", "TCPConnector", "UnixConnector", "request")}
    assert rules.makers_of(MODULES, {*names, "aiohttp.DummyCookieJar"}) == {"listener.runtime.http_client"}
    assert rules.makers_of(MODULES, {"aiohttp.CookieJar"}) == {"listener.runtime.cookies"}


def test_only_the_command_line_prints():
    assert rules.calls_of(MODULES, "print", outside=["cli"]) == []


def test_what_cannot_be_decoded_is_caught_as_a_whole():
    """By errors.UNDECODABLE: bytes from outside are not only wrong in the way that comes to mind first."""
    tell_apart = ["listener.cometd.messages", "listener.webservices.salvage"]
    assert rules.caught(MODULES, ["MsgspecError", "DecodeError"], outside=tell_apart) == []


def test_nothing_is_too_long_to_be_read_at_once():
    assert rules.oversized(MODULES) == []


def test_every_module_opens_with_one_line_that_says_what_it_is():
    assert rules.badly_opened(MODULES) == []


def test_tasks_live_in_task_groups_or_are_accounted_for():
    bare = rules.bare_tasks(MODULES)
    assert {name: places for name, places in bare.items() if name not in LONE_TASKS} == {}
    assert set(LONE_TASKS) - set(bare) == set(), "these no longer need an exception"


def test_the_linter_is_silenced_only_with_a_reason():
    assert rules.silenced_without_reason(MODULES) == []


def test_docstrings_explain_parameters_that_there_are():
    assert rules.arguments_that_are_none(MODULES) == []
