"""The mock broker inside of librdkafka, as a process of its own that listens on real TCP."""

import re
import sys
from pathlib import Path

from support.broker import Broker

_PROGRAM = """
import sys, time
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": int(sys.argv[1])})
brokers = producer.list_topics(timeout=10).brokers.values()
print("mock at", ",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
while True:
    time.sleep(3600)
"""


class KafkaMock(Broker):
    """A cluster in memory: killed, it has lost everything; stopped, it keeps silent. Topics come with their use."""

    def __init__(self, folder: Path, *, brokers: int = 1) -> None:
        argv = [sys.executable, "-c", _PROGRAM, str(brokers)]
        super().__init__(argv, folder=folder, port=0, ready="mock at")

    @property
    def server(self) -> str:
        found = re.search(r"mock at ([^,\s]+)", self.output())
        assert found is not None
        return found[1]
