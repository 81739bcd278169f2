"""A subscription that is dead while its connects succeed: found, repaired, and nothing of it goes unheard."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest

from listener.simulator import Simulator, SimulatorOptions
from support.eventually import eventually
from support.listening import CODE, Listening
from support.publishing import SimulatedSite

ACK = {True: "ack", False: "no ack"}.get
Install = Callable[..., Awaitable[Listening]]


@pytest.fixture
async def simulator(request: pytest.FixtureRequest, owned: AsyncExitStack) -> Simulator:
    """With acknowledgements or without, as the test asks for."""
    options = SimulatorOptions(agents=1, ack=request.param, timeout_ms=500, max_interval_ms=20_000)
    return await owned.enter_async_context(Simulator(options))


@pytest.mark.parametrize("simulator", [True, pytest.param(False, marks=pytest.mark.long)], indirect=True, ids=ACK)
async def test_what_a_dead_subscription_missed_is_found_and_the_session_goes_on(simulator: Simulator, install: Install):
    site = SimulatedSite(simulator)
    tables = site.settings
    listening = await install(site, server={**tables["server"], "reconcile_interval_s": 1.0})
    await listening.start()
    await site.publish(1, 3)
    await listening.heard([1, 2, 3])
    simulator.control("forget-subscriptions")
    missed_at = datetime.now(UTC)
    simulator.add_chat("chat-unheard")
    simulator.set_disposition("agent1", "chat-unheard", f"{CODE}5")
    await site.publish(4)
    await listening.daemon.logged("subscription_dead", level="error")
    await eventually(lambda: listening.lies_in_a_gap(missed_at))
    await site.publish(6)
    await listening.heard([4, 5, 6])
    origins = {event["data"]["disposition"]: event["data"]["origin"] for event in listening.dispositions}
    assert (origins[f"{CODE}4"], origins[f"{CODE}5"], origins[f"{CODE}6"]) == (
        "reconciled",
        "reconciled",
        "notification",
    )
    metrics = await listening.metrics()
    assert metrics.total("unreported_changes_total") == 2
    assert metrics.total("reconciliations_total", result="different") == 1
    assert await site.handshakes() == 1


@pytest.mark.parametrize("simulator", [False, pytest.param(True, marks=pytest.mark.long)], indirect=True, ids=ACK)
async def test_a_subscription_that_lives_is_left_alone(simulator: Simulator, install: Install):
    """Looks at the chats in the middle of a stream of changes: none of them is taken for a loss."""
    site = SimulatedSite(simulator)
    tables = site.settings
    listening = await install(site, server={**tables["server"], "reconcile_interval_s": 0.2})
    await listening.start()

    async def looked(times: int) -> bool:
        return (await listening.metrics()).total("reconciliations_total", result="done") >= times

    for number in range(1, 60):
        await site.publish(number)
        await listening.heard([number])
    await eventually(lambda: looked(3))
    metrics = await listening.metrics()
    assert metrics.total("unreported_changes_total") == metrics.total("reconciled_total") == 0
    assert (await site.handshakes(), listening.gaps) == (1, [])


@pytest.mark.parametrize("simulator", [False], indirect=True, ids=ACK)
async def test_a_chat_that_is_transferred_with_its_code_gives_the_next_change_its_previous(
    simulator: Simulator, install: Install
):
    listening = await install(SimulatedSite(simulator))
    await listening.start()
    simulator.desk.invite(
        "chat-transferred", "agent1", user_data={"DispositionCode": "Transferred"}, base_url=simulator.url
    )
    simulator.operate("agent1", "chat-transferred", "Accept")
    simulator.set_disposition("agent1", "chat-transferred", f"{CODE}1")
    await listening.heard([1])
    (event,) = listening.dispositions
    assert (event["data"]["change"], event["data"]["previous"]) == ("changed", "Transferred")
