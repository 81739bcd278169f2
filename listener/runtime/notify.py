"""Telling systemd where the service stands: the protocol of sd_notify(3), which is one datagram a message."""

import os
import socket
import time
from collections.abc import Mapping

import structlog

_log = structlog.get_logger(__name__)

_MICROSECONDS = 1_000_000


class Notifier:
    """Sends to the socket that systemd names in `NOTIFY_SOCKET`; says nothing where there is none.

    A message is never waited for: the socket does not block, and what cannot be sent is logged once and left out.

    Args:
        environ: the variables of the process.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        name = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{name[1:]}" if name.startswith("@") else name
        self._watchdog_us = _own_watchdog_us(environ)
        self._logged = False

    @property
    def listens(self) -> bool:
        """Whether anybody does."""
        return bool(self._address)

    @property
    def watchdog_s(self) -> float | None:
        """Within how many seconds systemd wants to hear `alive` (sd_watchdog_enabled(3)); None if it does not."""
        return self._watchdog_us / _MICROSECONDS if self._watchdog_us else None

    def ready(self, status: str) -> None:
        """The service has started, or has been reloaded."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def starting(self, status: str, *, more_s: float) -> None:
        """Still starting, and getting on: systemd shall wait for so many seconds more."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(more_s * _MICROSECONDS)}", f"STATUS={status}")

    def alive(self) -> None:
        """The watchdog is fed."""
        if self._watchdog_us:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1", "STATUS=delivering what is left")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        message = "\n".join(" ".join(line.split("\n")) for line in lines).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto(message, self._address)
        except OSError as exc:
            if not self._logged:
                _log.warning("systemd_not_notified", error=exc.strerror or str(exc))
            self._logged = True


def _own_watchdog_us(environ: Mapping[str, str]) -> int:
    """What `WATCHDOG_USEC` says, unless `WATCHDOG_PID` says that it is meant for another process."""
    value, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(value) if value.isdecimal() and pid == str(os.getpid()) else 0
