"""The validation handshake of CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery" 1.0, section 4, and its rate."""

import asyncio
from collections.abc import Callable

from listener.errors import Park, Retry
from listener.sinks.webhook.endpoint import Answer
from listener.sinks.webhook.failure import Failure

_ALL = "*"


def request_headers(origin: str, rate: int | None) -> dict[str, str]:
    """What the request for permission holds; `rate` is in requests a minute (4.1)."""
    asked = {"WebHook-Request-Rate": str(rate)} if rate is not None else {}
    return {"WebHook-Request-Origin": origin, **asked}


def allowed_rate(answer: Answer, *, origin: str, rate: int | None, where: str) -> int | Failure | None:
    """The requests a minute that an answer allows, None for any number; a Failure where it allows none (4.2).

    The headers decide and not the status: who knows nothing of the handshake may answer OPTIONS with a success. A
    status of passing trouble without them is passing trouble.

    Args:
        answer: to the request for permission.
        origin: who asked.
        rate: what was asked for; it counts where the receiver leaves the header out.
        where: the receiver, for the text of a Failure.
    """
    allowed = answer.headers.get("WebHook-Allowed-Origin", "").strip()
    if allowed.lower() not in (origin.lower(), _ALL):
        found = Failure(text=f"{where} answered {answer.status}", status=answer.status, after_s=answer.after_s)
        if found.kind is Retry and answer.status != 405:  # noqa: PLR2004 - 4.2: OPTIONS is not supported
            return found
        said = f"WebHook-Allowed-Origin is not {origin}" if allowed else "no WebHook-Allowed-Origin"
        text = f"{where} answered {answer.status} and does not allow us to send: {said}"
        return Failure(text=text, verdict=Park, status=answer.status)
    named = answer.headers.get("WebHook-Allowed-Rate", "").strip()
    if named.isascii() and named.isdigit() and int(named) > 0:
        return int(named)
    return rate if not named else None if named == _ALL else _no_rate(where)


def _no_rate(where: str) -> Failure:
    return Failure(text=f"{where} allows us to send, but its WebHook-Allowed-Rate is no number", verdict=Park)


class RateLimiter:
    """Spreads requests evenly over each minute.

    Args:
        monotonic: seconds that only run forward.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._distance_s = 0.0
        self._next_s = 0.0

    def set(self, per_minute: int | None) -> None:
        """From now on at most so many; None for any number."""
        self._distance_s = 60.0 / per_minute if per_minute is not None else 0.0

    async def turn(self) -> None:
        """Return when the next request may go."""
        if not self._distance_s:
            return
        now_s = self._monotonic()
        at_s = max(self._next_s, now_s)
        self._next_s = at_s + self._distance_s
        await asyncio.sleep(at_s - now_s)
