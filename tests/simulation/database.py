"""The database of several replicas, on a host of its own: what is asked travels there, and the answer back."""

import asyncio
import random
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from listener.errors import JournalError, JournalUncertain, ListenerError
from listener.testing.connection import Link
from simulation.loop import LIFE, Loop

HOST = "database"
ANSWERS_WITHIN_S = 3.0
"""How long a replica waits for an answer."""
WITH_ME = frozenset(
    ("offer", "beat", "release", "leave", "append", "advance", "settle_replays", "store_lane_state", "retain")
)
"""What a replica asks in its own name."""
_LATENCY_S = (0.0005, 0.01)
_CONNECTIONS = 3  # of a replica
_WORK_S = (0.0002, 0.003)


@dataclass(kw_only=True, eq=False, slots=True)
class Call:
    """What a replica asks.

    Attributes:
        host: of the replica.
        do: lets the database do it.
        answer: set once the answer has arrived.
        start: how often the database had been started when it was sent.
        is_taken: whether the database has begun with it, or will never see it.
    """

    host: str
    do: Callable[[], Any]
    answer: asyncio.Future[Any]
    start: int
    is_taken: bool = False

    @property
    def name(self) -> str:
        """Which method of `Database` it is."""
        return str(self.do.func.__name__)

    @property
    def me(self) -> int | None:
        """The incarnation that asks; None for a call that names none."""
        return self.do.args[0] if self.name in WITH_ME else None


@dataclass(frozen=True, eq=False, slots=True)
class _Cut:
    """A cut of one way; where answers are cut, some requests still go, on connections that are open already."""

    way: str
    late: bool
    held: list[Callable[[], None]] = field(default_factory=list)
    sent: list[None] = field(default_factory=list)

    def stops(self, way: str) -> bool:
        """Whether what goes this way now does not arrive."""
        if (way, self.way) != ("requests", "answers"):
            return self.way in (way, "both")
        self.sent.append(None)
        return len(self.sent) > _CONNECTIONS


class DatabaseHost:
    """One database, and the network around it.

    Args:
        loop: of the world.
        dice: how long everything takes.
        on_call: told each call that the database has dealt with, and what came of it.

    Attributes:
        slow_s: by how much longer everything takes.
    """

    def __init__(self, loop: Loop, *, dice: random.Random, on_call: Callable[[Call, Any], None]) -> None:
        self._loop = loop
        self._dice = dice
        self._on_call = on_call
        self.slow_s = 0.0
        self._is_up = True
        self._starts = 1
        self._open: dict[Call, None] = {}
        self._cuts: dict[str, list[_Cut]] = {}

    def link(self, host: str) -> Link:
        """The way of a replica on this host to the database."""
        return cast(Link, partial(self._ask, host))

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def cut(self, host: str, *, way: str, late: bool) -> Callable[[], None]:
        """Let nothing of one way (`requests`, `answers`, `both`) pass; returns what ends that.

        What is `late` arrives then, and is lost otherwise.
        """
        cut = _Cut(way, late)
        self._cuts.setdefault(host, []).append(cut)

        def join() -> None:
            self._cuts[host].remove(cut)
            for go_on in cut.held:
                go_on()

        return join

    def stop(self) -> None:
        """Break all connections: nobody learns what became of what is under way."""
        self._is_up = False
        self._starts += 1
        for call in list(self._open):
            self._send_back(call, JournalUncertain("the database has closed the connection"))

    def start(self) -> None:
        """Go on with what was durable, which is everything that was done."""
        self._is_up = True

    # --- the way of a call --------------------------------------------------------------------------------------------

    async def _ask(self, host: str, do: Callable[[], Any]) -> Any:
        call = Call(host=host, do=do, answer=self._loop.create_future(), start=self._starts)
        self._on_the_wire(self._arrive, call, way="requests")
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                return await call.answer
        except TimeoutError:
            raise self._given_up(call) from None

    def _given_up(self, call: Call) -> JournalError:
        """No answer; half of those that the database has not begun with never left the host."""
        if not call.is_taken and self._dice.random() < 0.5:
            call.is_taken = True
            return JournalError("database: cannot connect")
        return JournalUncertain("database: no answer")

    def _on_the_wire(self, arrive: Callable[[Call], None], call: Call, *, way: str) -> None:
        """It goes its way whatever becomes of the process that sent it, unless a cut holds it up."""
        cut = next((one for one in self._cuts.get(call.host, ()) if one.stops(way)), None)
        if cut is not None:
            if cut.late:
                cut.held.append(partial(self._on_the_wire, arrive, call, way=way))
            return
        context = copy_context()
        context.run(LIFE.set, None)
        self._loop.call_later(self._dice.uniform(*_LATENCY_S), arrive, call, context=context)

    def _arrive(self, call: Call) -> None:
        if call.is_taken:
            return
        if not self._is_up or call.start != self._starts:
            kind = JournalError if call.start == self._starts else JournalUncertain
            self._send_back(call, kind("database: connection refused"))
            return
        self._open[call] = None
        self._loop.net.host(HOST).create_task(self._work(call))

    async def _work(self, call: Call) -> None:
        await asyncio.sleep(self._dice.uniform(*_WORK_S) + self.slow_s)
        if call.is_taken or call.start != self._starts:
            return
        call.is_taken = True
        try:
            outcome = call.do()
        except ListenerError as exc:
            outcome = exc
        self._on_call(call, outcome)
        await asyncio.sleep(self.slow_s)
        if call.start == self._starts:
            self._send_back(call, outcome)

    def _send_back(self, call: Call, outcome: Any) -> None:
        self._open.pop(call, None)
        self._on_the_wire(lambda _: _settle(call, outcome), call, way="answers")


def _settle(call: Call, outcome: Any) -> None:
    if call.answer.done():
        return
    if isinstance(outcome, Exception):
        call.answer.set_exception(outcome)
        call.answer.exception()  # who asked may be dead
    else:
        call.answer.set_result(outcome)
