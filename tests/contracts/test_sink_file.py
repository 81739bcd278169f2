import contextlib
import json

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.testing.contract import SinkContract


class FilePlace:
    """A file in a folder that can be away."""

    exactly_once = True
    largest = 500_000
    of_the_host = True

    def __init__(self, base):
        self._base = base
        self.folder = base / "audit"
        self.folder.mkdir()

    def sink(self):
        return registry.build("sink", LaneSettings(type="file", path="audit/events.jsonl"), base=self._base)

    async def events(self):
        path = self.folder / "events.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    @contextlib.asynccontextmanager
    async def outage(self):
        away = self.folder.rename(self._base / "away")
        yield
        away.rename(self.folder)

    def stall(self):
        pytest.skip("no call to a local disk can be made to wait")

    def denied(self):
        pytest.skip("what the host refuses is a StartError, and later a Retry: see tests/sinks/file/test_sink.py")

    def poison(self, _event):
        pytest.skip("a file takes everything")


class TestFile(SinkContract):
    @pytest.fixture
    def place(self, tmp_path):
        return FilePlace(tmp_path)
