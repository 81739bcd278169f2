"""What a session may ask for while it is not certain that no other process has it."""

from collections.abc import Awaitable, Callable

from listener.cometd.protocol import Session
from listener.runtime.gate import Gate
from listener.runtime.latch import Latch

_SHARE = 1 / 3  # of the time that the server keeps a session without a poll
_LOOK_S = 60.0


class Certainty:
    """Holds requests up. What the server gives without acknowledgements it gives once: the owner has to get it.

    With them nothing is lost: a session may be kept alive, so slowly that it does not get in the way of another owner.

    Args:
        is_certain: see `ports.Duties`.
        certainty: returns once it is so; raises what ends all sessions.
    """

    def __init__(self, *, is_certain: Callable[[], bool], certainty: Callable[[], Awaitable[None]]) -> None:
        self._is_certain = is_certain
        self._certainty = certainty
        self._gate = Gate()
        self._is_waited_for = Latch()

    async def run(self) -> None:
        """Let those that wait go on whenever it is certain again, a few at a time; until cancelled."""
        while True:
            await self._is_waited_for.wait()
            self._is_waited_for.clear()
            await self._gate.open(self._certainty)
            self._gate.shut()

    def allows(self, session: Session) -> bool:
        """Whether a request of this session may be sent now, at once."""
        return session.ack_granted or self._is_certain()

    async def before_request(self, session: Session) -> None:
        """Return once the next request of the cycle may be sent."""
        if self._is_certain():
            return
        self._gate.shut()
        if session.ack_granted:
            await self._wait(session.lifetime_s * _SHARE)
            return
        while not self._is_certain():
            await self._wait(_LOOK_S)

    async def _wait(self, limit_s: float) -> None:
        self._is_waited_for.set()
        await self._gate.within(limit_s)
