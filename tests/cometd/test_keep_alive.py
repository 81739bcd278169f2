"""While a batch is not durable: connects with the old number, at a pace that the session survives."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from listener.cometd.keep_alive import KeepAlive
from listener.cometd.lease import Lease
from listener.cometd.protocol import Resume, Session, Step
from listener.errors import ExchangeFailed, LoginRefused
from listener.runtime.latch import Latch
from listener.testing import ManualClock
from support.script import TOPIC, Script, reply

pytestmark = pytest.mark.virtual

REFUSED = [
    ExchangeFailed("HTTP 401", http_status=401),
    reply(successful=False, error="403::Handshake denied"),
]


class Durable(Latch):
    """Notes how long it is waited for."""

    __slots__ = ("limits_s",)

    def __init__(self) -> None:
        super().__init__()
        self.limits_s: list[float] = []

    async def within(self, limit_s: float) -> bool:
        self.limits_s.append(round(limit_s, 6))
        return await super().within(limit_s)


class Kept:
    """A resumed session that is kept alive over a script."""

    def __init__(self) -> None:
        self.clock, self.script, self.durable, self.logins = ManualClock(), Script(ack=True), Durable(), 0
        self.login_is_granted = False
        self.session = Session(topics=[TOPIC], connection_type="long-polling")
        self.session.resume(Resume(client_id="c", connection_type="long-polling", ack=7, max_interval_ms=300))
        self.lease = Lease(session=self.session, now_s=self.clock.monotonic_s, uniform=lambda _, high: high)
        keep_alive = KeepAlive(session=self.session, lease=self.lease, login=self._log_in)
        self.task = asyncio.create_task(keep_alive.until(self.durable, "c", self.script.exchange))

    async def _log_in(self) -> None:
        self.logins += 1
        if not self.login_is_granted:
            raise LoginRefused("no")


@pytest.fixture
async def kept() -> AsyncIterator[Kept]:
    kept = Kept()
    yield kept
    kept.durable.set()
    await kept.task


async def test_connects_carry_the_old_number_and_ask_for_an_answer_at_once(kept: Kept):
    await kept.script.asked(3)
    assert {request.step for request in kept.script.requests} == {Step.CONNECT}
    assert [(one["ext"]["ack"], one["advice"]) for one in kept.script.connects[:3]] == [(7, {"timeout": 0})] * 3


@pytest.mark.parametrize("refused", REFUSED, ids=["http", "bayeux"])
async def test_a_login_that_ran_out_is_renewed_and_not_tried_again_at_once(kept: Kept, refused):
    kept.script.always(Step.CONNECT, refused)
    await kept.script.asked(4)
    assert kept.logins == 1
    kept.clock.advance(5)
    await kept.script.asked(6)
    assert kept.logins == 2


@pytest.mark.parametrize("refused", REFUSED, ids=["http", "bayeux"])
async def test_a_login_that_is_granted_is_followed_by_a_connect_at_once_and_no_more_than_one(kept: Kept, refused):
    kept.login_is_granted = True
    kept.script.always(Step.CONNECT, refused)
    await kept.script.asked(3)
    assert kept.durable.limits_s[:3] == [0.1, 0.0, 0.1]
    assert kept.logins == 1


@pytest.mark.parametrize(
    "page", [ExchangeFailed("HTTP 302", http_status=302), b"<html>log in</html>"], ids=["redirect", "page"]
)
async def test_a_login_that_ran_out_and_is_answered_with_pages_is_renewed(kept: Kept, page):
    """The first page may be anything."""
    kept.login_is_granted = True
    kept.script.then(page, reply(), page, reply(), page, page, step=Step.CONNECT)
    await kept.script.asked(7)
    assert kept.durable.limits_s[:7] == [0.1] * 6 + [0.0]
    assert kept.logins == 1


async def test_a_connect_that_is_granted_renews_the_lease(kept: Kept):
    kept.lease.failed()
    kept.clock.advance(60)
    assert kept.lease.is_over()
    await kept.script.asked(2)
    assert not kept.lease.is_over()


@pytest.mark.parametrize(("kept_ms", "pause_s"), [(200, 0.1), (5000, 1.0), (10_000, 2.0), (60_000, 3.0)])
async def test_no_pause_is_longer_than_a_fifth_of_what_the_server_waits_for(kept_ms: int, pause_s: float):
    class AtOnce(Durable):
        async def within(self, limit_s: float) -> bool:
            self.limits_s.append(limit_s)
            return True

    durable = AtOnce()
    session = Session(topics=[TOPIC], connection_type="long-polling")
    session.resume(Resume(client_id="c", connection_type="long-polling", ack=7, max_interval_ms=kept_ms))
    lease = Lease(session=session, now_s=ManualClock().monotonic_s, uniform=lambda _, high: high)
    await KeepAlive(session=session, lease=lease, login=None).until(durable, "c", Script(ack=True).exchange)
    assert durable.limits_s == [pytest.approx(pause_s)]


async def test_a_session_that_was_given_up_is_left_alone():
    kept = Kept()
    kept.session.expire()
    await asyncio.sleep(0.25)
    assert kept.script.requests == []
    kept.durable.set()
    await kept.task
