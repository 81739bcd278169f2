"""Tells when the server's clock and this host's are apart."""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

import structlog

MOST_S = 60.0

_log = structlog.get_logger(__name__)


class ClockSkew:
    """Compares the `Date` of answers with this host's clock; more than a minute is told once.

    Nothing of ours depends on the server's clock. Whoever compares our records with the server's has to know.

    Args:
        time_s: epoch seconds.
    """

    def __init__(self, *, time_s: Callable[[], float]) -> None:
        self._time_s = time_s
        self._is_told = False

    def look(self, date: str | None, server: str) -> None:
        """Look at the `Date` header (RFC 9110, 6.6.1) of an answer that has just come."""
        if self._is_told or date is None:
            return
        try:
            at = parsedate_to_datetime(date)
            ahead_s = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() - self._time_s()
        except (ValueError, OverflowError):
            return
        if abs(ahead_s) > MOST_S:
            self._is_told = True
            _log.warning("clocks_differ", server=server, server_ahead_s=round(ahead_s))
