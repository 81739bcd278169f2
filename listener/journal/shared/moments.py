"""Moments of sessions, told between hosts whose clocks do not agree: as how long they are ago."""

import re
from collections.abc import Iterable

from msgspec.structs import replace

from listener.model.event import REFUSED_SINCE, SessionState
from listener.runtime.clock import Moment
from listener.runtime.host import Host

_REFUSED_SINCE = re.compile(rf"{REFUSED_SINCE}(\d+)(?=,|$)")


def ages_ms(sessions: Iterable[SessionState], host: Host) -> dict[str, int]:
    """Per account, how long ago its session was seen; by the monotonic clock of this host where that tells."""
    now_ms, monotonic_ms = host.clock.now_ms(), int(host.clock.monotonic_s() * 1000)
    ages: dict[str, int] = {}
    for one in sessions:
        is_timed = one.seen_monotonic_ms is not None and one.boot == host.boot_id
        age_ms = monotonic_ms - (one.seen_monotonic_ms or 0) if is_timed else now_ms - one.seen_ms
        ages[one.account] = max(0, age_ms)
    return ages


def by_clocks_of(host: Host, asked_at: Moment, sessions: Iterable[tuple[SessionState, int]]) -> dict[str, SessionState]:
    """Sessions that were seen so many milliseconds ago, by account, with their moments by the clocks of this host.

    `asked_at` is when they were asked for: so a moment is rather too early than too late.
    """
    return {one.account: _seen_ago(one, age_ms, host, asked_at) for one, age_ms in sessions}


def _seen_ago(session: SessionState, age_ms: int, host: Host, asked_at: Moment) -> SessionState:
    seen_ms, monotonic_ms = asked_at.wall_ms - age_ms, int((asked_at.monotonic_s or 0.0) * 1000)
    later_ms = seen_ms - session.seen_ms
    topic = _REFUSED_SINCE.sub(lambda found: f"{REFUSED_SINCE}{max(0, int(found[1]) + later_ms)}", session.topic)
    return replace(session, topic=topic, seen_ms=seen_ms, seen_monotonic_ms=monotonic_ms - age_ms, boot=host.boot_id)
