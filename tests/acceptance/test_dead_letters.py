"""A sink that needs a person, and events that it does not take: the real daemon, and the commands beside it."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from listener.cli.app import build
from listener.model.event import epoch_ms, rfc3339
from support.eventually import eventually
from support.listening import CODE, Listening
from support.params import some_of
from support.publishing import Site
from support.receiver import Answer, Receiver

pytestmark = pytest.mark.parametrize("site", ["simulator with ack"], indirect=True)

Run = Callable[..., Awaitable[tuple[int, list[str]]]]
Install = Callable[..., Awaitable[Listening]]
QUICK = {"crm": {"retry_limit_s": 0.1, "park_after_refusals": 0}}


def number_of(event: dict[str, Any]) -> int:
    return int(event["data"]["disposition"].removeprefix(CODE))


def refuses(*numbers: int, status: int = 422) -> Callable[[dict[str, Any]], Answer | None]:
    """A receiver's judgement that refuses these."""
    body = b'{"error": "no such code here"}'
    return lambda event: Answer(status=status, body=body) if number_of(event) in numbers else None


@pytest.fixture
def run(start_command, tmp_path) -> Run:
    """A command on the configuration of the installation; gives its exit status and lines.

    What changes something is a process; what looks is asked for often, and needs none of its own.
    """
    options = ("--config", tmp_path / "listener.toml")

    async def on_the_configuration(*words: str) -> tuple[int, list[str]]:
        if words[1] not in {"list", "show", "stats"}:
            command = await start_command(*words, *options)
            return await command.wait(), command.lines
        done = await asyncio.to_thread(
            CliRunner().invoke, build(rich=False), [str(word) for word in (*words, *options)]
        )
        return done.exit_code, done.output.splitlines()

    return on_the_configuration


@pytest.fixture
async def listening(install: Install, site: Site, receiver: Receiver) -> Listening:
    """An installation with the sinks `audit` and `crm`, started."""
    listening = await install(site, webhook=receiver.url, sinks=QUICK)
    await listening.start()
    return listening


async def settled(run: Run, *numbers: int, replaying: bool = False) -> list[dict[str, Any]]:
    """The dead letters, once they are those of these events; sequences are numbers here."""

    async def probe() -> list[dict[str, Any]] | None:
        _, lines = await run("dead-letters", "list", "--json")
        found = [json.loads(line) for line in lines]
        fits = [one["sequence"] for one in found] == list(numbers)
        return found if fits and all(one["replaying"] == replaying for one in found) else None

    if not numbers:
        await eventually(lambda: probe_is_empty(run), interval_s=0.1)
        return []
    return await eventually(probe, interval_s=0.1)


async def probe_is_empty(run: Run) -> bool:
    return (await run("dead-letters", "list"))[1][:1] == ["no dead letters"]


def taken(receiver: Receiver) -> list[int]:
    return [number_of(event) for event in receiver.accepted()]


@pytest.mark.parametrize("by", some_of(("command", "hangup", "restart"), "command", "hangup"))
async def test_a_sink_that_refuses_the_credentials_waits_with_everything_until_it_is_resumed(
    listening: Listening, site: Site, receiver: Receiver, run: Run, by: str
):
    receiver.answers = Answer(status=401)
    await site.publish(1, 5)
    await listening.daemon.logged("sink_parked", sink="crm")
    await site.publish(6, 5)
    await listening.heard(range(1, 11))
    posts = len(receiver.posts)
    _, stats = await run("journal", "stats")
    assert "sink crm      at 0, 10 to go" in stats
    assert any(line.strip().startswith("parked since 2") and line.endswith("answered 401") for line in stats)
    _, listed = await run("dead-letters", "list")
    assert listed[0] == "no dead letters"
    assert listed[1].startswith("sink crm has been parked since 2")
    assert len(receiver.posts) == posts, "nothing is tried meanwhile"
    receiver.answers = Answer()
    if by == "command":
        assert await run("sinks", "resume", "crm") == (0, ["crm resumed"])
    elif by == "hangup":
        listening.daemon.send_signal(signal.SIGHUP)
        assert (await listening.daemon.logged("sinks_resumed"))["sinks"] == ["crm"]
    else:
        await listening.stop()
        await listening.start()
    await eventually(lambda: len(taken(receiver)) >= 10)
    assert taken(receiver) == list(range(1, 11))
    assert "parked" not in str(await run("journal", "stats"))
    assert await run("sinks", "resume", "crm") == (0, ["crm was not parked"])


async def test_an_event_that_is_refused_is_a_letter_with_what_the_receiver_said(
    listening: Listening, site: Site, receiver: Receiver, run: Run
):
    receiver.judge = refuses(2)
    await site.publish(1, 3)
    (letter,) = await settled(run, 2)
    assert taken(receiver) == [1, 3]
    assert (letter["sink"], letter["attempts"], letter["answer"]) == ("crm", 1, '{"error": "no such code here"}')
    assert letter["reason"] == f"{receiver.url} answered 422"
    status, shown = await run("dead-letters", "show", letter["eventId"][:8])
    assert status == 0
    assert 'answer    {"error": "no such code here"}' in shown
    event = json.loads("\n".join(shown[shown.index("") :]))
    assert event == next(one for one in listening.dispositions if one["id"] == letter["eventId"])
    assert "no such code here" not in str(listening.daemon.lines), "an answer may quote the event"


async def test_letters_are_replayed_by_id_by_time_and_by_sink_while_the_daemon_runs(
    listening: Listening, site: Site, receiver: Receiver, run: Run
):
    receiver.judge = refuses(2, 3, 4)
    await site.publish(1, 3)
    early = await settled(run, 2, 3)
    await site.publish(4, 2)
    letters = await settled(run, 2, 3, 4)
    receiver.judge = None
    assert await run("dead-letters", "replay", early[1]["eventId"]) == (0, ["1 delivered"])
    assert taken(receiver) == [1, 5, 3]
    before_the_last = rfc3339(epoch_ms(letters[-1]["at"]) - 1)
    assert await run("dead-letters", "replay", "--since", "1h", "--until", before_the_last) == (0, ["1 delivered"])
    assert taken(receiver) == [1, 5, 3, 2]
    assert await run("dead-letters", "replay", "--sink", "crm", "--no-wait") == (0, ["1 dead letter to be replayed"])
    await settled(run)
    assert taken(receiver) == [1, 5, 3, 2, 4]
    posts = receiver.accepted()
    assert {letter["eventId"] for letter in letters} <= {event["id"] for event in posts}
    assert {event["id"]: event for event in posts} == {event["id"]: event for event in listening.dispositions}
    assert (await listening.metrics()).total("sink_replayed_total", sink="crm") == 3
    assert listening.numbers == [1, 2, 3, 4, 5], "the other sink got none of it"


async def test_a_replay_says_what_was_rejected_again_and_waits_for_nobody_who_is_parked(
    listening: Listening, site: Site, receiver: Receiver, run: Run
):
    receiver.judge = refuses(1, 2)
    await site.publish(1, 2)
    await settled(run, 1, 2)
    receiver.judge = refuses(1, status=413)
    status, lines = await run("dead-letters", "replay", "--all")
    assert (status, lines[0]) == (1, "1 delivered, 1 rejected again")
    (letter,) = await settled(run, 1)
    assert (letter["attempts"], letter["reason"]) == (2, f"{receiver.url} answered 413")
    receiver.judge = refuses(1, status=403)
    status, lines = await run("dead-letters", "replay", "--all")
    assert (status, lines[0]) == (1, "0 delivered, 1 still to come")
    assert f"error: sink crm is parked: {receiver.url} answered 403" in lines[1]
    receiver.judge = None
    assert await run("sinks", "resume", "--all") == (0, ["crm resumed"])
    await settled(run)


async def test_a_replay_goes_on_after_kill_9(listening: Listening, site: Site, receiver: Receiver, run: Run):
    receiver.judge = refuses(*range(1, 121))
    await site.publish(1, 120)
    await settled(run, *range(1, 121))
    receiver.judge, receiver.answers = None, Answer(delay_s=0.02)
    replay = asyncio.create_task(run("dead-letters", "replay", "--all"))
    await eventually(lambda: len(receiver.accepted()) >= 60)
    await listening.daemon.kill()
    status, lines = await replay
    assert status == 1
    assert "the daemon has stopped" in lines[-1]
    before = len(receiver.accepted())
    assert before < 120
    await listening.start()
    await settled(run)
    assert sorted(set(taken(receiver))) == list(range(1, 121))
    assert len(taken(receiver)) <= 120 + 51, "only what was not yet settled comes twice"


async def test_who_is_marked_while_no_daemon_runs_is_delivered_by_the_next(
    listening: Listening, site: Site, receiver: Receiver, run: Run
):
    receiver.judge = refuses(1, 2)
    await site.publish(1, 3)
    await settled(run, 1, 2)
    await listening.stop()
    receiver.judge = None
    text = "2 dead letters to be replayed: no daemon is running, the next one delivers them"
    assert await run("dead-letters", "replay", "--sink", "crm") == (0, [text])
    await settled(run, 1, 2, replaying=True)
    await listening.start()
    await settled(run)
    assert taken(receiver) == [3, 1, 2]


@pytest.mark.parametrize("stopped", [False, True], ids=["beside the daemon", "without one"])
async def test_what_is_dropped_is_gone(listening: Listening, site: Site, receiver: Receiver, run: Run, stopped: bool):
    receiver.judge = refuses(1, 2)
    await site.publish(1, 2)
    first, _ = await settled(run, 1, 2)
    if stopped:
        await listening.stop()
    status, lines = await run("dead-letters", "drop", "--all")
    assert status == 2
    assert any("give --yes" in line for line in lines)
    assert await run("dead-letters", "drop", first["eventId"], "--yes") == (0, ["1 dead letter dropped"])
    await settled(run, 2)
    assert await run("dead-letters", "drop", "--sink", "crm", "--yes") == (0, ["1 dead letter dropped"])
    await settled(run)


async def test_an_event_that_fails_for_the_whole_horizon_is_given_up_and_holds_nothing_up(
    install: Install, site: Site, receiver: Receiver, run: Run
):
    listening = await install(
        site, webhook=receiver.url, sinks={"crm": {"retry_limit_s": 0.2, "retry_horizon_h": 0.0005}}
    )
    await listening.start()
    receiver.judge = refuses(2, status=500)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await site.publish(1, 4)
    (letter,) = await settled(run, 2)
    assert loop.time() - began >= 1.8
    assert (letter["reason"], letter["attempts"] >= 5) == ("not taken within 0.0005 h", True)
    assert letter["answer"] == f'{receiver.url} answered 500: {{"error": "no such code here"}}'
    await eventually(lambda: taken(receiver) == [1, 3, 4])
    await site.publish(5)
    await eventually(lambda: taken(receiver) == [1, 3, 4, 5])
