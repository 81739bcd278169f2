"""The session of a sink: one at a time, made when it is needed, and never left open."""

import asyncio

import pytest

from listener.errors import Park, Retry
from listener.sinks.session import ExclusiveSession, KeptSession, expire


class Connection:
    """Remembers how it ended."""

    def __init__(self) -> None:
        self.usable = True
        self.ended: list[str] = []

    async def close(self) -> None:
        self.ended.append("close")

    async def abort(self) -> None:
        self.ended.append("abort")


class Destination:
    """Makes connections; `opening` is set while one may be made."""

    def __init__(self) -> None:
        self.made: list[Connection] = []
        self.opening = asyncio.Event()
        self.opening.set()

    async def connect(self) -> Connection:
        await self.opening.wait()
        self.made.append(Connection())
        return self.made[-1]


@pytest.fixture
def destination() -> Destination:
    return Destination()


@pytest.fixture
def kept(destination: Destination) -> KeptSession[Connection]:
    return KeptSession("bus", destination.connect)


@pytest.fixture
def exclusive(destination: Destination) -> ExclusiveSession[Connection]:
    return ExclusiveSession(
        destination.connect,
        place="sinks.bus.url db",
        failures=(OSError,),
        outcome_of=lambda place, error: Park(f"{place}: {type(error).__name__}"),
        timeout_s=0.2,
    )


async def test_a_kept_session_is_used_until_it_is_of_no_use(destination: Destination, kept: KeptSession[Connection]):
    first = await kept.open()
    assert await kept.get() is first
    first.usable = False
    assert await kept.get() is not first
    assert first.ended == ["close"]
    await kept.close()
    await kept.close()
    assert [connection.ended for connection in destination.made] == [["close"], ["close"]]


async def test_there_is_none_outside_of_open_and_close(kept: KeptSession[Connection]):
    with pytest.raises(Retry, match=r"sinks\.bus is not open"):
        await kept.get()
    await kept.open()
    await kept.close()
    with pytest.raises(Retry, match=r"sinks\.bus is not open"):
        await kept.get()


async def test_a_kept_session_that_is_closed_while_it_connects_leaves_nothing_open(
    destination: Destination, kept: KeptSession[Connection]
):
    destination.opening.clear()
    opening = asyncio.create_task(kept.open())
    await asyncio.sleep(0)
    await kept.close()
    destination.opening.set()
    with pytest.raises(Retry, match="closed meanwhile"):
        await opening
    assert [connection.ended for connection in destination.made] == [["close"]]


async def test_it_is_opened_with_a_session_and_anew_with_another(
    destination: Destination, exclusive: ExclusiveSession[Connection]
):
    await exclusive.open()
    await exclusive.open()
    assert [connection.ended for connection in destination.made] == [["close"], []]


async def test_exchanges_come_one_after_another_over_one_session(
    destination: Destination, exclusive: ExclusiveSession[Connection]
):
    order: list[str] = []

    async def talk(name: str) -> None:
        async with exclusive.exchange():
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(talk("a"), talk("b"))
    assert order == ["a begins", "a ends", "b begins", "b ends"]
    await exclusive.close()
    assert [connection.ended for connection in destination.made] == [["close"]]


@pytest.mark.parametrize(("error", "raised"), [(OSError(), Park), (ValueError(), ValueError), (Retry("x"), Retry)])
async def test_what_goes_wrong_costs_the_session_and_a_failure_becomes_an_outcome(
    destination: Destination, exclusive: ExclusiveSession[Connection], error: Exception, raised: type[Exception]
):
    with pytest.raises(raised):
        async with exclusive.exchange():
            raise error
    async with exclusive.exchange() as session:
        assert session is destination.made[1]
    assert destination.made[0].ended == ["abort"]


async def test_an_exchange_has_a_time_limit_that_holds_for_connecting_too(
    destination: Destination, exclusive: ExclusiveSession[Connection]
):
    destination.opening.clear()
    with pytest.raises(Retry, match=r"^sinks.bus.url db: no answer within 0.2 s, or closed meanwhile$"):
        async with exclusive.exchange():
            pytest.fail("nothing was connected to")


async def test_closing_ends_the_exchange_that_is_under_way(
    destination: Destination, exclusive: ExclusiveSession[Connection]
):
    async def talk() -> None:
        async with exclusive.exchange():
            await asyncio.sleep(3600)

    talking = asyncio.create_task(talk())
    await asyncio.sleep(0.01)
    await exclusive.close()
    with pytest.raises(Retry, match=r"^sinks.bus.url db: no answer within 0.2 s, or closed meanwhile$"):
        await talking
    assert [connection.ended for connection in destination.made] == [["abort"]]


async def test_a_time_limit_may_be_ended_again_while_it_expires_and_when_it_is_over():
    async def wait(limit: asyncio.Timeout) -> None:
        async with limit:
            expire(limit)
            try:
                await asyncio.sleep(3600)
            finally:
                assert limit.expired()
                expire(limit)

    limit = asyncio.timeout(3600)
    with pytest.raises(TimeoutError):
        await wait(limit)
    expire(limit)
    expire(None)
