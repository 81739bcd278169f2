"""Each rule of the house fails on what is wrong, and says where."""

from collections.abc import Callable
from typing import Any

import pytest

from support import architecture as rules
from support.architecture import Module

FLOORS = (("daemon",), ("delivery", "receiver", "web", "sinks", "cometd"), ("model",))

BAD_IMPORTS = {
    "plain": "import listener.daemon.daemon",
    "from": "from listener.delivery import Lane",
    "from the package": "from listener import delivery",
    "relative": "from .delivery import Lane",
    "relative to the package": "from . import delivery",
    "in a function": "def f():\n    from listener.delivery import Lane",
    "for the type checker": "if TYPE_CHECKING:\n    from listener.delivery import Lane",
    "by name": "import importlib\nimportlib.import_module('listener.delivery')",
}
DELIVERY = Module(name="listener.delivery", source="class Lane: ...")
DAEMON = Module(name="listener.daemon.daemon", source="")


@pytest.mark.parametrize("source", BAD_IMPORTS.values(), ids=BAD_IMPORTS)
def test_an_arrow_up_or_between_brothers_is_seen_however_it_is_written(source: str):
    receiver = Module(name="listener.receiver", source=source)
    (wrong,) = rules.not_downwards([receiver, DELIVERY, DAEMON], FLOORS)
    assert wrong.startswith("listener.receiver imports listener.d")


def test_a_relative_import_of_a_package_starts_at_the_package():
    package = Module(name="listener.web", source="from ..delivery import Lane\nfrom .server import X", is_package=True)
    assert rules.not_downwards([package, DELIVERY], FLOORS) == ["listener.web imports listener.delivery"]


def test_an_arrow_down_the_version_and_the_own_room_are_open_to_all():
    text = "from listener import __version__\nfrom listener.web import page\nfrom listener.model import Event"
    modules = [Module(name="listener.web.server", source=text), Module(name="listener.model", source="")]
    assert rules.not_downwards(modules, FLOORS) == []
    assert rules.arrows(modules) == {("web", "model"): ["listener.web.server imports listener.model"]}


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
        (rules.undeclared_rooms([Module(name="listener.utils", source="")], FLOORS), "listener.utils: no such room"),
        (
            rules.imports_between(SINKS, room="sinks", common=("registry",)),
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
        (
            rules.caught(one("try: f()\nexcept (OSError, a.DecodeError): g()"), ["DecodeError"], outside=[]),
            "listener.web.server:2 catches DecodeError",
        ),
        (rules.oversized(one("x = 1\n" * 501)), "listener.web.server has 501 lines"),
        (rules.oversized(one("async def f():\n" + "    x = 1\n" * 50)), "listener.web.server.f has 51 lines"),
        (rules.badly_opened(one("x = 1")), "listener.web.server: opens with ''"),
        (rules.badly_opened(one('"""Two lines\nof text."""')), "listener.web.server: opens with 'Two lines'"),
        (rules.silenced_without_reason(one("x = 1  # noqa")), "listener.web.server:1 # noqa"),
        (rules.silenced_without_reason(one("x = 1  # noqa: F401")), "listener.web.server:1 # noqa: F401"),
        (
            rules.arguments_that_are_none(
                one('def f(b):\n    """X.\n\n    Args:\n        a: gone.\n        b: there.\n    """')
            ),
            "listener.web.server.f: a",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_that_is_broken_says_where(found: list[str], expected: str):
    (wrong,) = found
    assert wrong.startswith(expected)


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (rules.oversized, "x = 1\n" * 500),
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


@pytest.mark.parametrize(
    "source",
    [
        "import time\nnow = time.monotonic()",
        "import time as t\ndef f(now=t.time_ns): ...",
        "from time import monotonic\nnow = monotonic()",
        "from random import uniform as dice\ndice(0, 1)",
        "def f():\n    import secrets\n    return secrets.token_hex(8)",
        "from concurrent.futures import ThreadPoolExecutor\nThreadPoolExecutor(1)",
    ],
)
def test_a_use_of_what_is_the_hosts_is_found(source: str):
    names = ("time", "random", "secrets", "concurrent.futures.ThreadPoolExecutor")
    assert len(rules.uses_of(one(source), names)["listener.web.server"]) == 1


@pytest.mark.parametrize(
    ("source", "makes"),
    [
        ("import aiohttp\nsession = aiohttp.ClientSession()", True),
        ("from aiohttp import ClientSession as Http\ndef f():\n    return Http()", True),
        ("from aiohttp import ClientSession\nclass Mine(ClientSession): ...", True),
        ("import aiohttp\ndef f(http: aiohttp.ClientSession): ...", False),
        ("from aiohttp import ClientSession\nhttp: ClientSession | None = None", False),
    ],
)
def test_who_makes_something_is_told_from_who_only_knows_it(source: str, *, makes: bool):
    assert rules.makers_of(one(source), {"aiohttp.ClientSession"}) == ({"listener.web.server"} if makes else set())


@pytest.mark.parametrize(
    "source",
    [
        "import random\ndef play(rng: random.Random): ...",
        "def f(time, clock):\n    return time.monotonic() + clock.time()",
        "from concurrent.futures import Executor",
        "from listener.sinks import secrets\nsecrets.read()",
    ],
)
def test_a_use_of_something_else_is_not(source: str):
    assert rules.uses_of(one(source), ("time", "random", "secrets", "concurrent.futures"), but=("random.Random",)) == {}
