"""Over a websocket, what no frame can bring is fetched by long-polling, and nothing is lost."""

from pathlib import Path

import pytest

from support.listening import Listening
from support.sockets import WebsocketFront
from support.stage import Stage

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]


async def test_large_batches_amid_small_ones_are_taken_whole_and_in_order(tmp_path: Path):
    async with Stage() as stage, WebsocketFront(stage.simulator.port) as front:
        table = {"url": front.url, "transport": "websocket", "max_message_bytes": 2**16}
        settings = {**stage.settings, "server": {**stage.settings["server"], **table}}
        async with Listening(tmp_path, **settings) as listening:
            await listening.start()
            for _ in range(5):
                polls = len(front.polls)
                for _ in range(300):  # without a pause: the server has them all for one answer
                    await stage.publisher.publish()
                await stage.all_written(listening)
                assert len(front.polls) > polls
                frames = front.frames
                await stage.publisher.publish()
                await stage.all_written(listening)
                assert front.frames > frames
            assert stage.problems(listening.events) == ()
