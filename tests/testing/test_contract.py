"""The suite that sinks are held to finds what it looks for: each broken sink fails the test that is there for it."""

import asyncio
import contextlib
import json
import os

import pytest

from listener.errors import Park, Reject, Retry
from listener.testing.contract import SinkContract


class Store:
    """A destination in memory, and the state that it is in."""

    def __init__(self):
        self.events = []
        self.state = "up"
        self.moving = asyncio.Event()
        self.moving.set()
        self.poisoned = ""


class MemorySink:
    """A sink that keeps the contract, but for its fault."""

    def __init__(self, store, fault=""):
        self._store = store
        self._fault = fault
        self._files = []

    async def open(self):
        self._reach()
        if self._fault == "opens what it does not close":
            self._files.append(os.open("/dev/null", os.O_RDONLY))

    async def check(self):
        self._reach()
        if self._fault == "sends its probe":
            self._store.events.append({"id": "probe"})

    async def deliver(self, events):
        if self._fault != "returns before it is durable":
            await self._store.moving.wait()
        if self._store.state == "down" and self._fault == "forgets what was under way":
            return
        self._reach()
        await asyncio.sleep(0.001)
        self._reach()
        order = reversed(events) if self._fault == "turns the order round" else events
        self._store.events += [self._written(event) for event in order if event.id != self._store.poisoned]
        poisoned = [index for index, event in enumerate(events) if event.id == self._store.poisoned]
        if poisoned and self._fault != "drops what is refused":
            index = poisoned[0] + (1 if self._fault == "names the wrong one" else 0)
            raise Reject(index, "too large", delivered=frozenset(range(len(events))) - {index})

    async def close(self):
        pass

    def _written(self, event):
        written = json.loads(event.to_json())
        if self._fault == "makes up its ids":
            written["id"] = f"{written['id']}-{len(self._store.events)}"
        if self._fault == "cuts":
            written["data"]["disposition"] = str(written["data"].get("disposition"))[:1000]
        return written

    def _reach(self):
        if self._store.state == "down":
            raise (Park if self._fault == "parks while it is away" else Retry)("away")
        if self._store.state == "denied" and self._fault != "takes a refusal for a failure":
            raise Park("unknown user")
        if self._store.state == "denied":
            raise Retry("unknown user")


class MemoryPlace:
    exactly_once = False
    largest = 500_000
    of_the_host = False

    def __init__(self, fault=""):
        self._store = Store()
        self._fault = fault
        if fault == "is not exactly-once":
            self.exactly_once = True

    def sink(self):
        return MemorySink(self._store, self._fault)

    async def events(self):
        return list(self._store.events)

    def outage(self):
        return self._down()

    def stall(self):
        return self._stalled()

    @contextlib.asynccontextmanager
    async def _down(self):
        self._store.state = "down"
        await asyncio.sleep(0.01)
        yield
        self._store.state = "up"

    @contextlib.asynccontextmanager
    async def _stalled(self):
        self._store.moving.clear()
        yield
        self._store.moving.set()

    def denied(self):
        self._store.state = "denied"
        return self.sink()

    def poison(self, event):
        self._store.poisoned = event.id
        return event


class TestInMemory(SinkContract):
    """Without a fault every test passes."""

    @pytest.fixture
    def place(self):
        return MemoryPlace()


SUITE = SinkContract()
FOUND_BY = {
    "forgets what was under way": SUITE.test_a_destination_that_is_away_is_waited_for,
    "parks while it is away": SUITE.test_a_destination_that_is_away_is_waited_for,
    "returns before it is durable": SUITE.test_a_destination_that_stalls_holds_neither_the_loop_nor_the_end,
    "turns the order round": SUITE.test_events_of_one_chat_arrive_in_order_over_batches,
    "makes up its ids": SUITE.test_what_is_delivered_again_keeps_its_id_and_its_content,
    "is not exactly-once": SUITE.test_what_is_delivered_again_keeps_its_id_and_its_content,
    "cuts": SUITE.test_a_large_event_arrives_whole,
    "sends its probe": SUITE.test_the_probe_sends_nothing_whether_the_sink_is_open_or_not,
    "takes a refusal for a failure": SUITE.test_a_destination_that_needs_a_person_parks_the_lane,
    "drops what is refused": SUITE.test_an_event_that_can_never_be_taken_is_named_and_the_others_arrive,
    "names the wrong one": SUITE.test_an_event_that_can_never_be_taken_is_named_and_the_others_arrive,
    "opens what it does not close": SUITE.test_nothing_is_left_open_after_closing,
}


@pytest.mark.parametrize("fault", FOUND_BY)
async def test_a_sink_that_breaks_its_contract_is_found(fault):
    with pytest.raises((AssertionError, Park, Retry, pytest.fail.Exception)):
        await FOUND_BY[fault](MemoryPlace(fault))
