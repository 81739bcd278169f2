import contextlib
import json

import pytest

from listener.errors import Park, Retry
from listener.testing import RecordingSink
from listener.testing.contract import SinkContract


class RecordingPlace:
    """The double that ships is its own destination."""

    exactly_once = False
    largest = 500_000
    of_the_host = False

    def __init__(self):
        self._sink = RecordingSink()

    def sink(self):
        return self._sink

    async def events(self):
        return [json.loads(event.to_json()) for event in self._sink.events]

    @contextlib.asynccontextmanager
    async def outage(self):
        self._sink.open_error = self._sink.trouble = Retry("away")
        yield
        self._sink.open_error = self._sink.trouble = None

    @contextlib.asynccontextmanager
    async def stall(self):
        self._sink.hold()
        yield
        self._sink.release()

    def denied(self):
        self._sink.open_error = Park("unknown user")
        return self._sink

    def poison(self, _event):
        pytest.skip("it rejects what its script says")


class TestRecordingSink(SinkContract):
    @pytest.fixture
    def place(self):
        return RecordingPlace()
