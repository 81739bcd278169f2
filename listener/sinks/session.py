"""The session of a sink with its destination: created when needed, discarded after any failure."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from listener.errors import Outcome, Retry


class Usable(Protocol):
    """A session that knows when it is of no use any more."""

    @property
    def usable(self) -> bool:
        """Whether nothing is known to be wrong with it."""

    async def close(self) -> None:
        """Release everything, without waiting for a destination that hangs. Idempotent."""


class Abortable(Protocol):
    """A session that can be given up in the middle of an exchange."""

    async def abort(self) -> None:
        """Release everything at once. Idempotent."""

    async def close(self) -> None:
        """Release everything, and say goodbye where that takes no time. Idempotent."""


U = TypeVar("U", bound=Usable)
A = TypeVar("A", bound=Abortable)


def expire(timeout: asyncio.Timeout | None) -> None:
    """Let a time limit expire at once. One that is expiring or over stays as it is: ends come one behind the other."""
    if timeout is not None:
        with contextlib.suppress(RuntimeError):
            timeout.reschedule(0)


class KeptSession(Generic[U]):
    """The session of a sink that several things continue over at once, between `open` and `close`.

    Args:
        name: the sink's.
        connect: makes one; raises an outcome.
    """

    def __init__(self, name: str, connect: Callable[[], Awaitable[U]]) -> None:
        self._name = name
        self._connect = connect
        self._opened = False
        self._session: U | None = None

    async def open(self) -> U:
        """Start over, with a first session."""
        await self.close()
        self._opened = True
        return await self.get()

    async def get(self) -> U:
        """The session while it is usable, or a new one. Raises what `connect` does, and Retry where it is not open."""
        if not self._opened:
            raise Retry(f"sinks.{self._name} is not open")
        if self._session is not None and self._session.usable:
            return self._session
        await self.drop()
        session = await self._connect()
        if not self._opened:
            await session.close()
            raise Retry(f"sinks.{self._name} was closed meanwhile")
        self._session = session
        return session

    async def drop(self) -> None:
        """Close the current session; the next `get` creates another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """Drop it for good. Idempotent."""
        self._opened = False
        await self.drop()


class ExclusiveSession(Generic[A]):
    """The session of a sink that has one exchange at a time, each within a time limit.

    Args:
        connect: makes one.
        place: where it leads to, for the text of an outcome.
        failures: what says that an exchange has failed, beside TimeoutError.
        outcome_of: what such a failure means at that place.
        timeout_s: for an exchange, connecting included.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[A]],
        *,
        place: str,
        failures: tuple[type[Exception], ...],
        outcome_of: Callable[[str, Exception], Outcome],
        timeout_s: float,
    ) -> None:
        self._connect = connect
        self._place = place
        self._failures = failures
        self._outcome_of = outcome_of
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._deadline: asyncio.Timeout | None = None
        self._session: A | None = None

    @contextlib.asynccontextmanager
    async def limited(self) -> AsyncIterator[asyncio.Timeout]:
        """Within the time limit; a failure becomes an outcome."""
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                yield deadline
        except TimeoutError as error:
            text = f"{self._place}: no answer within {self._timeout_s} s, or closed meanwhile"
            raise Retry(text) from error
        except self._failures as error:
            raise self._outcome_of(self._place, error) from error

    async def open(self) -> None:
        """Start over, with a first session."""
        await self.close()
        async with self.exchange():
            """Connecting is all there is to do."""

    @contextlib.asynccontextmanager
    async def exchange(self) -> AsyncIterator[A]:
        """The session for one exchange. Any failure discards the session."""
        async with self._lock:
            try:
                async with self.limited() as self._deadline:
                    self._session = self._session or await self._connect()
                    yield self._session
            except BaseException:
                session, self._session = self._session, None
                if session is not None:
                    await session.abort()
                raise
            finally:
                self._deadline = None

    async def close(self) -> None:
        """End the exchange that is under way, which takes it for a TimeoutError, and the session. Idempotent."""
        expire(self._deadline)
        async with self._lock:
            session, self._session = self._session, None
            if session is not None:
                await session.close()
