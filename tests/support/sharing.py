"""Commands on a journal that replicas share, in memory."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from listener.cli.shared import Shared
from listener.testing import MemoryConnection, MemoryDatabase

T = TypeVar("T")


class Sharing:
    """A database in memory in place of the one that `journal.url` leads to."""

    def __init__(self, monkeypatch: Any) -> None:
        self.memory = MemoryDatabase(time.time)
        monkeypatch.setattr(Shared, "database", lambda _: MemoryConnection(self.memory))

    def run(self, work: Callable[[MemoryConnection], Coroutine[Any, Any, T]]) -> T:
        """What a test does there by itself."""

        async def opened() -> T:
            connection = MemoryConnection(self.memory)
            await connection.open()
            return await work(connection)

        return asyncio.run(opened())
