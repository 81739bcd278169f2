"""Two nodes of the Web Services behind round robin without stickiness: the listener says what the site lacks."""

import asyncio
from collections import Counter

import pytest

from support.gateway import Gateway
from support.listening import Listening

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
SAID = "the login cookie is not honoured (two nodes without stickiness, or a cookie that is lost on the way)"


async def test_it_is_said_that_the_login_cookie_is_not_honoured_and_nobody_logs_in_for_ever(start_command, tmp_path):
    """Every second request of any kind comes to the node that does not know the login."""
    nodes = [await start_command("simulate", "--port", "0") for _ in range(2)]
    lines = [await node.line(lambda line: line.startswith("listening ")) for node in nodes]
    async with Gateway(*(int(line.split()[1].rpartition(":")[2]) for line in lines)) as gateway:
        accounts = [{"username": "agent1", "password": "secret"}]
        async with Listening(tmp_path, server={"url": gateway.url}, accounts=accounts) as listening:
            daemon = await listening.start(subscribed=False)
            await daemon.logged("session_problem", reason="unauthorized")
            before = Counter(line["event"] for line in daemon.log)
            await asyncio.sleep(20.0)
            after = Counter(line["event"] for line in daemon.log) - before
            problems = [line for line in daemon.log if line["event"] == "session_problem"]
            assert any(SAID in line["error"] for line in problems if line["reason"] == "unauthorized")
            assert after["logged_in"] <= 15, "each poll and each reading of the chats would have one of its own"
        checked = await start_command("check", "--connect", "--config", tmp_path / "listener.toml")
        assert await checked.wait() == 78
        assert SAID in "".join(checked.lines)
