"""How long a session is ago survives a move between hosts, and the wall clock counts only where nothing else tells."""

from dataclasses import replace as replaced

from msgspec.structs import replace

from listener.journal.shared.moments import ages_ms, by_clocks_of
from listener.model.event import SessionState
from listener.runtime.clock import Moment
from listener.runtime.host import Host


class Clock:
    """Both clocks at rest."""

    def now_ms(self) -> int:
        return 1_000_000

    def monotonic_s(self) -> float:
        return 500.0

    async def sleep(self, delay_s: float) -> None:
        raise AssertionError(delay_s)


HOST = Host(clock=Clock(), boot_id="this")
STATE = SessionState(
    account="alice", url="u", topic="t", client_id="c", connection_type="long-polling", ack=1, seen_ms=0
)


def test_the_monotonic_clock_of_this_host_tells_where_it_can():
    timed = replace(STATE, seen_ms=7, seen_monotonic_ms=490_000, boot="this")
    assert ages_ms([timed], HOST) == {"alice": 10_000}


def test_of_another_start_of_the_machine_only_the_wall_clock_tells():
    other = replace(STATE, seen_ms=970_000, seen_monotonic_ms=490_000, boot="that")
    assert ages_ms([other], HOST) == {"alice": 30_000}
    assert ages_ms([replace(other, seen_monotonic_ms=None, boot="this")], HOST) == {"alice": 30_000}


def test_nothing_was_seen_in_the_future():
    assert ages_ms([replace(STATE, seen_ms=2_000_000)], HOST) == {"alice": 0}


def test_what_was_seen_on_another_host_comes_by_the_clocks_of_this_one():
    asked_at = Moment.of(HOST.clock)
    (here,) = by_clocks_of(HOST, asked_at, [(STATE, 20_000)]).values()
    assert (here.seen_ms, here.seen_monotonic_ms, here.boot) == (980_000, 480_000, "this")
    assert ages_ms([here], HOST) == {"alice": 20_000}
    assert ages_ms([here], replaced(HOST, boot_id="that")) == {"alice": 20_000}


def test_so_does_since_when_a_topic_was_refused():
    refused = replace(STATE, seen_ms=5_000_000, topic="/v2/me/chats,/v2/me/emails since 4990000,/v2/me/calls since 1")
    (here,) = by_clocks_of(HOST, Moment.of(HOST.clock), [(refused, 20_000)]).values()
    assert here.topic == "/v2/me/chats,/v2/me/emails since 970000,/v2/me/calls since 0"
