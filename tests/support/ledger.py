"""The publisher's side of the books: numbered dispositions over several chats, each entered with its wall time."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from support.listening import CODE

KEY = "DispositionCode"


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """One disposition as it was published: no two of a ledger have the same value.

    Attributes:
        since: wall clock before the server got it; it was published between this and `until`.
        agent: who set it; None on a server that knows no agents, and tells all the same.
        reference_id: what the notification carries for that agent; None where the publisher does not know.
        sure: False where publishing failed half-way: it may have been heard, and need not.
    """

    number: int
    chat: str
    value: str
    since: datetime
    until: datetime
    key: str = KEY
    agent: str | None = None
    reference_id: int | None = None
    sure: bool = True


Send = Callable[[int, str, str], Awaitable[int | None]]
"""Publish this number as this value of this chat; returns the referenceId where it is known."""


class Publisher:
    """Sets one disposition after the other, going round the chats, and keeps the ledger.

    Args:
        send: hands one to the server; whatever it raises makes the entry unsure, and is raised.
        chats: their ids.
        agent: who sets them, for the ledger.

    Attributes:
        ledger: what has been published, oldest first.
    """

    def __init__(self, send: Send, *, chats: Sequence[str], agent: str | None = None) -> None:
        self.ledger: list[Publication] = []
        self._send = send
        self._chats = itertools.cycle(chats)
        self._agent = agent
        self._numbers = itertools.count(1)

    async def publish(self) -> Publication:
        """The next one."""
        number, chat = next(self._numbers), next(self._chats)
        value, since, sure, reference_id = f"{CODE}{number}", _now(), False, None
        try:
            reference_id = await self._send(number, chat, value)
            sure = True
        finally:
            entry = Publication(
                number=number,
                chat=chat,
                value=value,
                since=since,
                until=_now(),
                agent=self._agent,
                reference_id=reference_id,
                sure=sure,
            )
            self.ledger.append(entry)
        return entry

    @contextlib.asynccontextmanager
    async def streaming(self, *, pause_s: float, at_once: int = 1) -> AsyncIterator[None]:
        """Publish `at_once`, pause, and on, while the block runs; a server that is not there does not end it."""

        async def stream() -> None:
            while not over.is_set():
                for _ in range(at_once):
                    with contextlib.suppress(OSError, aiohttp.ClientError):
                        await self.publish()
                await asyncio.sleep(pause_s)

        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stream(), name="publisher")
            try:
                yield
            finally:
                over.set()


def _now() -> datetime:
    return datetime.now(UTC)
