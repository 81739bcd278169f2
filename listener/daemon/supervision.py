"""Reports to systemd: ready once everything is, alive as long as there is progress."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from listener.runtime.notify import Notifier

_log = structlog.get_logger(__name__)

_LOOK_S = 10.0
_STARTING_S = 0.2
_MORE_S = 60.0
_SHOWN = 3  # reasons in a status line


class Supervision:
    """Feeds the watchdog with real progress, and keeps the line in `systemctl status` up to date.

    Progress is a turn of the event loop in which the journal's writer has answered. If either hangs, the watchdog is
    not fed, and systemd restarts the service. A service whose disk is full or whose server is away makes progress, and
    says so.

    Args:
        notifier: where to report.
        progress: returns once the journal's writer has answered.
        not_ready: why the daemon is not ready; empty if it is.
        summary: what it does, in a line.
    """

    def __init__(
        self,
        *,
        notifier: Notifier,
        progress: Callable[[], Awaitable[None]],
        not_ready: Callable[[], Sequence[str]],
        summary: Callable[[], str],
    ) -> None:
        self._summary = summary
        self._notifier = notifier
        self._progress = progress
        self._not_ready = not_ready
        self._ready = False

    async def run(self) -> None:
        """Run until cancelled. Returns at once if nobody listens."""
        if not self._notifier.listens:
            return
        every_s = min(_LOOK_S, (self._notifier.watchdog_s or 3 * _LOOK_S) / 3)
        while True:
            if await self._is_alive(every_s):
                self._notifier.alive()
                self._report()
            await asyncio.sleep(every_s if self._ready else min(_STARTING_S, every_s))

    async def _is_alive(self, patience_s: float) -> bool:
        try:
            async with asyncio.timeout(patience_s):
                await self._progress()
        except TimeoutError:
            _log.error("no_progress", effect="the watchdog is not fed", waited_s=round(patience_s, 1))
            return False
        return True

    def _report(self) -> None:
        reasons = self._not_ready()
        status = "; ".join(reasons[:_SHOWN]) + (f" and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else "")
        if self._ready:
            self._notifier.status(f"not ready: {status}" if reasons else self._summary())
        elif reasons:
            self._notifier.starting(f"starting: {status}", more_s=_MORE_S)
        else:
            self._ready = True
            self._notifier.ready(self._summary())
