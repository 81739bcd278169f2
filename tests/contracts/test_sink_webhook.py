import contextlib
import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from listener.config.lane import LaneSettings
from listener.errors import Outcome, Reject
from listener.sinks import registry
from listener.testing.contract import SinkContract
from support.events import events_of
from support.receiver import Answer, Post


def events_in(post: Post) -> list[dict]:
    """The events of a request, as its content mode has them."""
    if "ce-id" not in post.headers:
        return post.json if isinstance(post.json, list) else [post.json]
    attributes = {name.lower()[3:]: unquote(value) for name, value in post.headers.items() if name[:3].lower() == "ce-"}
    return [{**attributes, "datacontenttype": post.headers["Content-Type"], "data": post.json}]


class WebhookPlace:
    """A real HTTP server."""

    exactly_once = False
    largest = 500_000
    of_the_host = False

    def __init__(self, receiver, mode):
        self._receiver = receiver
        self._mode = mode

    def sink(self):
        lane = LaneSettings(type="webhook", url=self._receiver.url, mode=self._mode)
        return registry.build("sink", lane, base=Path())

    async def events(self):
        return [event for post in self._receiver.posts if post.status // 100 == 2 for event in events_in(post)]

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
        text = json.loads(event.to_json())["data"]

        def judge(body):
            holds = [one.get("data", one) for one in (body if isinstance(body, list) else [body])]
            return Answer(status=422) if text in holds else None

        self._receiver.judge = judge
        return event


class TestWebhook(SinkContract):
    @pytest.fixture(params=["structured", pytest.param("binary", marks=pytest.mark.long), "batched"])
    def place(self, receiver, request):
        return WebhookPlace(receiver, request.param)

    async def test_every_event_that_is_rejected_is_named_in_one_outcome_and_the_others_are_delivered(
        self, place, receiver
    ):
        """What is neither delivered nor named would be brought again, and refused again."""
        receiver.judge = lambda body: Answer(status=422) if "chat-1" in json.dumps(body) else None
        batch = events_of(12, chats=3)
        sink = place.sink()
        await sink.open()
        with pytest.raises(Outcome) as caught:
            await sink.deliver(batch)
        await sink.close()
        assert isinstance(caught.value, Reject)
        rejected, delivered = caught.value.letters.keys(), caught.value.delivered
        assert rejected == {index for index, event in enumerate(batch) if event.subject == "chat-1"}
        assert delivered == set(range(12)) - rejected
        assert {event["id"] for event in await place.events()} == {batch[index].id for index in delivered}
