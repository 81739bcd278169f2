import contextlib
from pathlib import Path

import pytest

from listener.errors import Outcome, Reject
from listener.lane_settings import LaneSettings
from listener.sinks import registry
from listener.testing.contract import SinkContract
from support.events import events_of
from support.receiver import Answer


class WebhookPlace:
    """A real HTTP server."""

    exactly_once = False
    largest = 500_000
    of_the_host = False

    def __init__(self, receiver):
        self._receiver = receiver

    def sink(self):
        return registry.build("sink", LaneSettings(type="webhook", url=self._receiver.url), base=Path())

    async def events(self):
        return self._receiver.accepted()

    @contextlib.asynccontextmanager
    async def outage(self):
        await self._receiver.stop()
        yield
        await self._receiver.start()

    @contextlib.asynccontextmanager
    async def stall(self):
        self._receiver.answers = Answer(delay_s=5)
        yield
        self._receiver.answers = Answer()

    def denied(self):
        self._receiver.answers = Answer(status=401)
        return self.sink()

    def poison(self, event):
        self._receiver.judge = lambda body: Answer(status=422) if body["id"] == event.id else None
        return event


class TestWebhook(SinkContract):
    @pytest.fixture
    def place(self, receiver):
        return WebhookPlace(receiver)

    async def test_every_event_that_is_rejected_is_named_in_one_outcome_and_the_others_are_delivered(
        self, place, receiver
    ):
        """What is neither delivered nor named would be brought again, and refused again."""
        receiver.script(*(Answer(status=422 if number % 2 else 200) for number in range(12)))
        batch = events_of(12, chats=3)
        sink = place.sink()
        await sink.open()
        with pytest.raises(Outcome) as caught:
            await sink.deliver(batch)
        await sink.close()
        assert isinstance(caught.value, Reject)
        rejected, delivered = caught.value.letters.keys(), caught.value.delivered
        assert rejected | delivered == set(range(12))
        assert not rejected & delivered
        assert {event["id"] for event in await place.events()} == {batch[index].id for index in delivered}
