"""What goes wrong in a long run: on the way to the server, at the server, and at the webhook's receiver."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from listener.simulator import Simulator
from support.books import Till
from support.faultproxy import FaultProxy
from support.receiver import Answer

Trouble = tuple[str, Callable[[], Awaitable[None]]]
"""Its name, and what plays it; returns when it is over, or when it will be over by itself."""


class Troubles:
    """Each of them leaves everything as it was, and may be played at any time; two that are alike not at once."""

    def __init__(self, *, link: FaultProxy, simulator: Simulator, till: Till, dice: random.Random) -> None:
        self._link = link
        self._simulator = simulator
        self._till = till
        self._dice = dice

    def on_the_way(self) -> Sequence[Trouble]:
        """Those of the link and of the server."""
        return (
            ("response dropped", self._drop),
            ("response cut", self._cut),
            ("RST", self._reset),
            ("black hole", self._blackhole),
            ("502", self._bad_gateway),
            ("503, Retry-After", self._unavailable),
            ("session expired", self._expire),
            ("logged out", self._log_out),
            ("logins revoked", self._revoke_logins),
            ("batches repeated", self._repeat),
        )

    def at_the_webhook(self) -> Sequence[Trouble]:
        """Those of the receiver."""
        return (
            ("webhook 500", lambda: self._answering(Answer(status=500))),
            ("webhook 429", lambda: self._answering(Answer(status=429, headers={"Retry-After": "1"}))),
            ("webhook slow", lambda: self._answering(Answer(delay_s=0.4))),
            ("webhook silent", lambda: self._answering(Answer(delay_s=6.0))),
            ("webhook refuses", self._refuse),
        )

    async def _drop(self) -> None:
        self._link.drop_next_response()

    async def _cut(self) -> None:
        """In the status line, in the headers, anywhere."""
        places = (10, 120, 400, self._dice.randrange(1, 4000))
        self._link.cut_next_response(after_bytes=self._dice.choice(places))

    async def _reset(self) -> None:
        self._link.reset()

    async def _blackhole(self) -> None:
        with self._link.blackhole():
            await asyncio.sleep(self._dice.uniform(1.0, 5.0))

    async def _bad_gateway(self) -> None:
        self._simulator.control("fail", status=502, body="<html>Bad Gateway</html>", count=self._dice.randint(1, 3))

    async def _unavailable(self) -> None:
        self._simulator.control("fail", status=503, headers={"Retry-After": "1"}, count=self._dice.randint(1, 3))

    async def _expire(self) -> None:
        """One agent's session, or all of them."""
        self._simulator.control("expire", agent=self._dice.choice((None, *self._simulator.center.agents)))

    async def _log_out(self) -> None:
        self._simulator.control("expire-http")

    async def _revoke_logins(self) -> None:
        seconds = self._dice.uniform(2.0, 4.0)
        self._simulator.control("invalidate-logins", seconds=seconds)
        await asyncio.sleep(seconds)

    async def _repeat(self) -> None:
        self._simulator.control("duplicate", count=self._dice.randint(1, 5))

    async def _answering(self, answer: Answer) -> None:
        self._till.answers = answer
        try:
            await asyncio.sleep(self._dice.uniform(0.5, 4.0))
        finally:
            self._till.answers = Answer()

    async def _refuse(self) -> None:
        await self._till.stop()
        try:
            await asyncio.sleep(self._dice.uniform(0.5, 4.0))
        finally:
            await self._till.start()
