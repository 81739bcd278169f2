"""What the console asks of the real daemon: the stream over stops and starts, and what is never shown."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from listener.web.limits import STREAMS
from support.config import AUDIT
from support.eventually import eventually
from support.listening import Listening
from support.pages import TOKEN, bearer
from support.receiver import Answer, Receiver
from support.stage import AGENT, Stage
from support.stream import Stream, stream

CUSTOMER = "FirstL"  # whom the simulator puts into each chat


@pytest.fixture
async def listening(owned: Any, stage: Stage, receiver: Receiver, tmp_path: Path) -> Listening:
    """A daemon that passes one key of userData on, and whose webhook takes nothing."""
    receiver.answers = Answer(status=422)
    there = await owned.enter_async_context(
        Listening(tmp_path, webhook=receiver.url, disposition={"user_data": ["Queue"]}, **stage.settings)
    )
    config = tmp_path / "listener.toml"
    text = config.read_text(encoding="utf-8").replace('["http"]', f'["http"]\ntoken = "{TOKEN}"')
    config.write_text(text, encoding="utf-8")
    await there.start()
    return there


async def client(owned: Any, listening: Listening) -> aiohttp.ClientSession:
    port = (await listening.daemon.logged("http_listening"))["port"]
    return await owned.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=bearer()))


def codes(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["disposition"] for event in events if event["type"].endswith(".disposition")]


async def test_a_disposition_is_streamed_found_and_listed(owned: Any, listening: Listening, stage: Stage):
    http = await client(owned, listening)
    feed, _ = await stream(http)
    stage.simulator.set_disposition(AGENT, stage.chats[0], "Resolved", "DispositionCode")
    (event,) = await feed.events(1)
    await eventually(lambda: listening.dispositions == [event], what=listening.daemon.output)
    found = await (await http.get("/events.json", params={"agent": "agent*", "chat": stage.chats[0]})).json()
    assert (found["events"], found["before"]) == ([event], None)

    async def listed() -> list[dict[str, Any]]:
        return (await (await http.get("/dead-letters.json")).json())["letters"]

    (letter,) = await eventually(listed)
    assert (letter["sink"], letter["chatId"], letter["disposition"]) == ("crm", stage.chats[0], "Resolved")
    assert (letter["eventId"], str(letter["sequence"])) == (event["id"], event["sequence"])


async def test_nothing_of_a_customer_is_shown_that_the_configuration_does_not_pass_on(
    owned: Any, listening: Listening, stage: Stage
):
    http = await client(owned, listening)
    feed, _ = await stream(http)
    secrets = {"Name": "Jane-Doe-7", "Phone": "555-0199-7", "Queue": "billing"}
    stage.simulator.operate(
        AGENT, stage.chats[0], "UpdateUserData", userData={**secrets, "DispositionCode": "Resolved"}
    )
    (event,) = await feed.events(1)
    assert (event["data"]["userData"], event["data"]["disposition"]) == ({"Queue": "billing"}, "Resolved")
    assert {one["type"] for one in event["data"]["participants"]} == {"Agent"}
    await eventually(lambda: "events_rejected" in str(listening.daemon.log))
    shown = str(event)
    for path in ("/events.json", "/dead-letters.json", "/status.json", "/metrics", "/", "/openapi.json"):
        shown += await (await http.get(path)).text()
    shown += str(listening.daemon.log)
    assert [word for word in (secrets["Name"], secrets["Phone"], CUSTOMER) if word in shown] == []
    assert await (await http.get("/events.json", params={"agent": CUSTOMER})).json() == {
        "events": [],
        "before": None,
        "searchedThrough": event["data"]["receivedAt"],
    }


async def test_streams_do_not_hold_up_a_stop_and_go_on_after_the_start(owned: Any, listening: Listening, stage: Stage):
    http = await client(owned, listening)
    streams = [await stream(http) for _ in range(STREAMS)]
    stage.simulator.set_disposition(AGENT, stage.chats[0], "Before", "DispositionCode")
    heard = [codes(await feed.events(1)) for feed, _ in streams]
    assert heard == [["Before"]] * STREAMS
    await eventually(lambda: "events_rejected" in str(listening.daemon.log))
    assert await listening.stop() == 0
    for feed, _ in streams:
        assert await over(feed)
    stage.simulator.set_disposition(AGENT, stage.chats[0], "Meanwhile", "DispositionCode")
    await listening.start()
    http = await client(owned, listening)
    first = streams[0][1]
    feed, hello = await stream(http, Last_Event_ID="1")
    assert hello["journal"] != first["journal"]
    assert not hello["reset"]
    assert codes(await feed.events(1)) == ["Meanwhile"]


async def test_a_client_of_another_journal_is_told_so_after_a_restart(owned: Any, listening: Listening, stage: Stage):
    stage.simulator.set_disposition(AGENT, stage.chats[0], "A", "DispositionCode")
    stage.simulator.set_disposition(AGENT, stage.chats[0], "B", "DispositionCode")
    await eventually(lambda: codes(listening.events) == ["A", "B"])
    assert await listening.stop() == 0
    for path in (*listening.folder.glob("journal.db*"), *listening.folder.glob(f"{AUDIT}*")):
        path.unlink()
    await listening.start()
    http = await client(owned, listening)
    feed, hello = await stream(http, Last_Event_ID="1000")
    assert hello["reset"]
    assert hello["lastSequence"] < 1000
    stage.simulator.set_disposition(AGENT, stage.chats[0], "C", "DispositionCode")
    while "C" not in codes(events := await feed.events(1)):
        assert events


async def test_a_storm_reaches_who_reads_and_neither_the_log_nor_who_does_not(
    owned: Any, listening: Listening, stage: Stage, receiver: Receiver
):
    receiver.answers = Answer()
    http = await client(owned, listening)
    feed, _ = await stream(http)
    deaf = [await stream(http) for _ in range(4)]
    lines = len(listening.daemon.log)
    for number in range(300):
        stage.simulator.set_disposition(AGENT, stage.chats[number % 3], f"N{number}", "DispositionCode")
        await asyncio.sleep(0.005)
    assert sorted(codes(await feed.events(300))) == sorted(f"N{number}" for number in range(300))
    assert len(listening.daemon.log[lines:]) < 10, listening.daemon.log[lines:]
    assert len(deaf) == 4


async def over(feed: Stream) -> bool:
    """Whether a stream ends."""
    try:
        while True:
            await feed.message()
    except EOFError:
        return True
