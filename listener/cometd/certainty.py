"""What a session may ask for while it is not certain that no other process has it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from listener.cometd.protocol import Session

_SHARE = 1 / 2  # of the time that the server keeps a session without a poll


class Certainty:
    """Holds requests up. What the server gives without acknowledgements it gives once: the owner has to get it.

    With them nothing is lost: a session may be kept alive, so slowly that it does not get in the way of another owner.

    Args:
        is_certain: see `ports.Duties`.
        certainty: returns once it is so; raises what ends the session.
    """

    __slots__ = ("_certainty", "_is_certain")

    def __init__(self, *, is_certain: Callable[[], bool], certainty: Callable[[], Awaitable[None]]) -> None:
        self._is_certain = is_certain
        self._certainty = certainty

    def allows(self, session: Session) -> bool:
        """Whether a request of this session may be sent now, at once."""
        return session.ack_granted or self._is_certain()

    async def before_request(self, session: Session) -> None:
        """Return once the next request of the cycle may be sent."""
        if self._is_certain():
            return
        if session.ack_granted:
            with suppress(TimeoutError):
                async with asyncio.timeout(session.lifetime_s * _SHARE):
                    await self._certainty()
            return
        while not self._is_certain():
            await self._certainty()
