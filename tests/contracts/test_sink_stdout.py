import json

import pytest

from listener.sinks.registry import SinkContext
from listener.sinks.stdout import StdoutSink
from listener.testing.contract import SinkContract


class StdoutPlace:
    """A file in the place of standard output."""

    exactly_once = False
    largest = 500_000
    of_the_host = True

    def __init__(self, base, out):
        self._base = base
        self._out = out

    def sink(self):
        return StdoutSink(context=SinkContext(name="sink", base=self._base), fd=self._out.fileno())

    async def events(self):
        return [json.loads(line) for line in (self._base / "out").read_bytes().splitlines()]

    def outage(self):
        pytest.skip("standard output that is closed does not come back: see tests/sinks/test_stdout.py")

    def stall(self):
        pytest.skip("a pipe that nobody reads: see tests/sinks/test_stdout.py")

    def denied(self):
        pytest.skip("nobody can be refused")

    def poison(self, _event):
        pytest.skip("standard output takes everything")


class TestStdout(SinkContract):
    @pytest.fixture
    def place(self, tmp_path):
        with (tmp_path / "out").open("wb", buffering=0) as out:
            yield StdoutPlace(tmp_path, out)

    async def test_nothing_is_missing_when_the_destination_dies_amid_ten_thousand_events(self):
        pytest.skip("standard output that is closed does not come back")
