"""The rooms of the house: who may import whom, and how large anything may grow.

The rules are in support/architecture.py; each of them is shown to fail on something bad further down.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from support import architecture as rules
from support.architecture import Module, load_package

ROOT = Path(__file__).parents[1]
MODULES = load_package(ROOT)

# Floor by floor, from the top. A room may import the rooms (or the single module of a room) that stand beside it.
FOUNDATION = ("model", "condition", "durable", "errors", "metrics", "backoff", "latch")
PARTS = (
    *("receiver", "rereading", "recorder", "delivery", "sinks", "web"),
    *("cometd", "webservices", "journal", "settings", "lane_settings", "schema", "forms", "ports", "trial"),
    *FOUNDATION,
)
ROOMS: dict[str, Collection[str]] = {
    "__main__": ("cli",),
    "cli": (
        "daemon",
        "notify",
        "probes",
        "offline",
        "assembly",
        "control",
        "settings",
        "simulator",
        "audit",
        "journal.views",
        "logs",
        "errors",
        "model",
    ),
    # The composition root: what runs, what it is ordered to do, what is only asked, and what they are made of.
    "daemon": (
        *("accounts", "lanes", "reloading", "credentials", "housekeeping", "orders"),
        *("supervision", "notify", "health", "serving"),
        *("assembly", "connections", "control"),
        *PARTS,
    ),
    "accounts": ("assembly", "connections", *PARTS),
    "lanes": ("accounts", "assembly", *PARTS),
    "credentials": (),
    "supervision": ("notify",),
    "notify": (),
    "reloading": ("settings", *FOUNDATION),
    "serving": ("health", "orders", "control", "web", "http_settings", "ports", *FOUNDATION),
    "health": ("delivery", "recorder", "web", "ports", *FOUNDATION),
    "orders": ("control", "delivery", "ports", *FOUNDATION),
    "offline": ("journal", *FOUNDATION),
    "probes": ("assembly", "connections", "control", *PARTS),
    "assembly": ("connections", *PARTS),
    "connections": ("settings", "errors"),
    "housekeeping": ("ports", *FOUNDATION),
    # Of the session it knows the values alone: what is reported, and what the next start resumes from.
    "receiver": ("rereading", "ports", "webservices", "cometd.facts", "cometd.protocol", *FOUNDATION),
    "rereading": ("webservices", *FOUNDATION),
    "recorder": ("ports", *FOUNDATION),
    "delivery": ("ports", *FOUNDATION),
    "sinks": ("audit", "durable", "ports", "forms", "schema", "model", "errors", "backoff"),
    "control": ("model", "errors"),
    "trial": ("model",),
    "audit": ("durable", "model", "errors"),
    "web": ("search", "metrics", "model", "condition", "errors"),
    "simulator": ("errors",),
    "testing": ("ports", "search", "model", "errors"),
    "cometd": ("backoff", "latch", "errors"),
    "webservices": ("model", "errors", "backoff"),
    "journal": ("durable", "search", "model", "errors"),
    "settings": ("http_settings", "lane_settings", "schema", "errors"),
    "http_settings": ("schema",),
    "lane_settings": ("forms", "schema"),
    "forms": ("model",),
    "schema": ("errors",),
    "ports": ("search", "model"),
    "search": ("model",),
    "model": (),
    "condition": (),
    "durable": (),
    "errors": (),
    "metrics": (),
    "backoff": (),
    "latch": (),
    "logs": ("redaction",),
    "redaction": (),
}

# What kinds of sink have in common; beyond it they do not know each other.
SHARED_BY_SINKS = ("registry", "tls", "secrets", "durability", "verdict")

# Libraries that only these know.
LIBRARIES = {
    "aiocometd": ["listener.cometd"],
    "sqlite3": ["listener.journal"],
    "prometheus_client": ["listener.metrics"],
    "cryptography": ["listener.audit", "listener.sinks"],
    "typer": ["listener.cli"],
    "rich": ["listener.cli"],
    "redis": ["listener.sinks.redis"],
    "asyncpg": ["listener.sinks.postgres"],
    "nats": ["listener.sinks.nats"],
    "aiokafka": ["listener.sinks.kafka"],
    "aio_pika": ["listener.sinks.amqp"],
    "aiormq": ["listener.sinks.amqp"],
    "pytest": ["listener.testing.contract"],
}

# A task outside of a TaskGroup, and why its death cannot go unnoticed there.
LONE_TASKS = {
    "listener.sinks.file.witness": "a sink is opened and closed apart; close() awaits the task, no delivery needs it",
    "listener.cometd.transport": "aiocometd calls connect() and close() apart; the transport holds the task in between",
    "listener.testing.contract": "a test; each of its tasks is awaited before the test is over",
    "listener.probes": "a probe races the handshake against the first trouble, and ends both before it returns",
}


def test_every_room_is_in_the_table():
    assert rules.undeclared_rooms(MODULES, ROOMS) == []


def test_rooms_import_only_what_the_table_allows():
    assert rules.forbidden_imports(MODULES, ROOMS) == []


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


def test_only_the_command_line_prints():
    assert rules.calls_of(MODULES, "print", outside=["cli"]) == []


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


# From here on: each rule can fail.

BAD_IMPORTS = {
    "plain": "import listener.daemon",
    "from": "from listener.delivery import Lane",
    "from the package": "from listener import delivery",
    "relative": "from .delivery import Lane",
    "relative to the package": "from . import delivery",
    "in a function": "def f():\n    from listener.delivery import Lane",
    "for the type checker": "if TYPE_CHECKING:\n    from listener.delivery import Lane",
    "by name": "import importlib\nimportlib.import_module('listener.delivery')",
}
DELIVERY = Module(name="listener.delivery", source="class Lane: ...")
DAEMON = Module(name="listener.daemon", source="")


@pytest.mark.parametrize("source", BAD_IMPORTS.values(), ids=BAD_IMPORTS)
def test_a_forbidden_import_is_seen_however_it_is_written(source: str):
    receiver = Module(name="listener.receiver", source=source)
    (wrong,) = rules.forbidden_imports([receiver, DELIVERY, DAEMON], ROOMS)
    assert wrong.startswith("listener.receiver imports listener.d")


def test_a_relative_import_of_a_package_starts_at_the_package():
    package = Module(name="listener.web", source="from ..delivery import Lane\nfrom .server import X", is_package=True)
    assert rules.forbidden_imports([package, DELIVERY], ROOMS) == ["listener.web imports listener.delivery"]


def test_a_room_that_is_open_by_one_module_is_not_open_by_another():
    modules = [
        Module(name="listener.cli.journal", source="from listener.journal import views, sqlite"),
        Module(name="listener.journal.views", source=""),
        Module(name="listener.journal.sqlite", source=""),
        Module(name="listener.journal", source="", is_package=True),
    ]
    assert rules.forbidden_imports(modules, ROOMS) == [
        "listener.cli.journal imports listener.journal",
        "listener.cli.journal imports listener.journal.sqlite",
    ]


def test_the_version_and_the_own_room_are_open_to_all():
    web = Module(name="listener.web.server", source="from listener import __version__\nfrom listener.web import page")
    assert rules.forbidden_imports([web], ROOMS) == []


SINKS = [
    Module(
        name="listener.sinks.file", source="from listener.sinks import stdout\nfrom listener.sinks.registry import K"
    ),
    Module(name="listener.sinks.stdout", source=""),
    Module(name="listener.sinks.registry", source=""),
    Module(name="listener.sinks.webhook", source="from listener.sinks.webhook.sink import K", is_package=True),
    Module(name="listener.sinks.webhook.sink", source="from listener.sinks.webhook import K"),
]
CYCLE = [
    Module(name="listener.a", source="from listener import b"),
    Module(name="listener.b", source="import listener.a"),
]
CORE = [
    Module(name="listener.cometd.protocol", source="from listener.cometd.messages import M"),
    Module(name="listener.cometd.messages", source="def f():\n    import time"),
]


def one(source: str) -> list[Module]:
    return [Module(name="listener.web.server", source=source)]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (rules.undeclared_rooms([Module(name="listener.utils", source="")], ROOMS), "listener.utils: no such room"),
        (
            rules.imports_between(SINKS, room="sinks", common=SHARED_BY_SINKS),
            "listener.sinks.file imports listener.sinks.st",
        ),
        (rules.import_cycles(CYCLE), "listener.a -> listener.b -> listener.a"),
        (
            rules.imported_outside(one("from aiocometd.exceptions import X"), "aiocometd", ["listener.cometd"]),
            "listener.web",
        ),
        (
            rules.imports_of(CORE, "listener.cometd.protocol", ["asyncio", "time"], within="listener.cometd"),
            "listener.cometd.messages imports time",
        ),
        (
            rules.calls_of(one("def f():\n    print('x')"), "print", outside=["cli"]),
            "listener.web.server:2 calls print()",
        ),
        (rules.oversized(one("x = 1\n" * 401)), "listener.web.server has 401 lines"),
        (rules.oversized(one("async def f():\n" + "    x = 1\n" * 50)), "listener.web.server.f has 51 lines"),
        (rules.badly_opened(one("x = 1")), "listener.web.server: opens with ''"),
        (rules.badly_opened(one('"""Two lines\nof text."""')), "listener.web.server: opens with 'Two lines'"),
        (rules.silenced_without_reason(one("x = 1  # noqa")), "listener.web.server:1 # noqa"),
        (rules.silenced_without_reason(one("x = 1  # noqa: F401")), "listener.web.server:1 # noqa: F401"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_that_is_broken_says_where(found: list[str], expected: str):
    (wrong,) = found
    assert wrong.startswith(expected)


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (rules.oversized, "x = 1\n" * 400),
        (rules.oversized, "def f():\n" + "    x = 1\n" * 49),
        (rules.badly_opened, '"""One line."""\n'),
        (rules.badly_opened, '"""One line.\n\nAnd more, further down.\n"""\n'),
        (rules.silenced_without_reason, "x = 1  # noqa: F401 - imported for its side effect"),
        (rules.silenced_without_reason, "x = '# noqa'"),
    ],
)
def test_a_rule_lets_through_what_is_right(rule: Callable[[list[Module]], list[Any]], source: str):
    assert rule(one(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "asyncio.create_task(f())",
        "asyncio.ensure_future(f())",
        "asyncio.get_running_loop().create_task(f())",
        "async def g(tasks):\n    tasks.create_task(f())",
    ],
)
def test_a_bare_task_is_found(source: str):
    assert len(rules.bare_tasks(one(source))["listener.web.server"]) == 1


@pytest.mark.parametrize(
    "source",
    [
        "async def g():\n    async with asyncio.TaskGroup() as tasks:\n        tasks.create_task(f())",
        "async def g(tasks: asyncio.TaskGroup):\n    tasks.create_task(f())",
        "async def g(stack):\n    tasks = await stack.enter_async_context(TaskGroup())\n    tasks.create_task(f())",
        "class A:\n def __init__(self, tasks: TaskGroup):\n  self.g = tasks\n def h(self):\n  self.g.create_task(f())",
    ],
)
def test_a_task_of_a_group_is_not(source: str):
    assert rules.bare_tasks(one(source)) == {}
