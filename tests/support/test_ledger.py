"""The ledger holds what was published, and says where that is not sure."""

import asyncio
from datetime import UTC, datetime

import pytest

from support.eventually import eventually
from support.ledger import Publisher


class Server:
    """Takes what is published, until it is down."""

    def __init__(self) -> None:
        self.got: list[tuple[int, str, str]] = []
        self.down = False

    async def send(self, number: int, chat: str, value: str) -> int:
        if self.down:
            raise ConnectionResetError
        self.got.append((number, chat, value))
        return 30 + number


async def test_every_publication_is_entered_with_its_time():
    server = Server()
    publisher = Publisher(server.send, chats=["a", "b"], agent="agent1")
    before = datetime.now(UTC)
    for _ in range(3):
        await publisher.publish()
    after = datetime.now(UTC)
    assert [(e.number, e.chat, e.value) for e in publisher.ledger] == server.got
    assert [(e.chat, e.reference_id, e.agent, e.sure) for e in publisher.ledger] == [
        ("a", 31, "agent1", True),
        ("b", 32, "agent1", True),
        ("a", 33, "agent1", True),
    ]
    assert all(before <= e.since <= e.until <= after for e in publisher.ledger)


async def test_what_failed_half_way_is_not_sure():
    server = Server()
    publisher = Publisher(server.send, chats=["a"])
    server.down = True
    with pytest.raises(ConnectionResetError):
        await publisher.publish()
    server.down = False
    await publisher.publish()
    assert [(e.value, e.sure) for e in publisher.ledger] == [("code-1", False), ("code-2", True)]


async def test_a_stream_goes_on_behind_a_failure_and_ends_with_its_block():
    server = Server()
    publisher = Publisher(server.send, chats=["a"])
    async with publisher.streaming(pause_s=0.001):
        await eventually(lambda: len(server.got) >= 3)
        server.down = True
        await eventually(lambda: not publisher.ledger[-1].sure)
        server.down = False
        heard = len(server.got)
        await eventually(lambda: len(server.got) >= heard + 3)
    published = len(publisher.ledger)
    await asyncio.sleep(0.01)
    assert len(publisher.ledger) == published
    assert {entry.sure for entry in publisher.ledger} == {True, False}
