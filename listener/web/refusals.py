"""What is refused is counted each time, and logged once a minute and reason: who knocks all day fills no disk."""

import logging
from collections.abc import Callable

import structlog
from aiohttp.http_exceptions import HttpProcessingError

from listener.runtime.clock import SYSTEM_CLOCK
from listener.runtime.metrics import Metrics

_QUIET_S = 60.0

_log = structlog.get_logger(__name__)


class Refusals:
    """Keeps count of what is refused.

    Args:
        metrics: counts by reason.
        monotonic: seconds.
    """

    def __init__(self, *, metrics: Metrics, monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic_s) -> None:
        self._metrics = metrics
        self._monotonic = monotonic
        self._quiet_until_s: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}

    def note(self, reason: str, *, remote: str | None, error: BaseException | None = None) -> None:
        """One request, or connection, was refused.

        Args:
            reason: a short fixed word; nothing of what the client has sent, which may be a secret or a customer's.
            remote: the client's address.
            error: a fault of ours behind it, for the log.
        """
        self._metrics.count("http_refused_total", 1, reason)
        now_s = self._monotonic()
        if now_s < self._quiet_until_s.get(reason, now_s):
            self._unlogged[reason] = self._unlogged.get(reason, 0) + 1
            return
        self._quiet_until_s[reason] = now_s + _QUIET_S
        log = _log.warning if error is None else _log.error
        log("http_refused", reason=reason, remote=remote, more_before=self._unlogged.pop(reason, 0), exc_info=error)

    def logger(self) -> logging.Logger:
        """A logger for aiohttp, which reports by it what never becomes a request: what it says is noted here."""
        logger = logging.Logger("http")  # noqa: LOG001 - no name in the process-wide tree: it belongs to one server
        logger.addHandler(_Noting(self))
        return logger


class _Noting(logging.Handler):
    """Takes aiohttp's records to the refusals."""

    def __init__(self, refusals: Refusals) -> None:
        super().__init__(logging.DEBUG)
        self._refusals = refusals

    def emit(self, record: logging.LogRecord) -> None:
        """Bytes that are no HTTP are the client's fault; a client that is gone is none; any other exception is ours."""
        error = record.exc_info[1] if record.exc_info else None
        remote = str(record.args[0]) if isinstance(record.args, tuple) and record.args else None
        if isinstance(error, HttpProcessingError):
            self._refusals.note("malformed", remote=remote)
        elif error is not None and not isinstance(error, ConnectionError):
            self._refusals.note("failed", remote=remote, error=error)
