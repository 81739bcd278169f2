"""One hostile peer beside healthy ones: the real daemon, its memory, the turns of its loop, and what the others got."""

import asyncio
import contextlib
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from support import hostile, loopwatch
from support.eventually import eventually
from support.hostile import Front, Peer, Play
from support.listening import Listening
from support.receiver import Receiver
from support.sockets import WebsocketFront
from support.stage import AGENT, Stage, values

MOST_MIB = 160.0
LONGEST_TURN_MS = 50.0
SETTLES_S = 20.0
PLAYS = 3  # hostile answers and
PLAYS_S = (3.0, 10.0)  # seconds, at the least and at the most
MIB = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one hostile peer cost. `turn_ms` is the CPU time of the loop's longest turn, `late_ms` by the wall clock.

    `busy` is the part of a core that the daemon took while the peer had its say.
    """

    play: Play
    played: int
    peak_mib: float
    turn_ms: float
    late_ms: float
    busy: float
    problems: tuple[str, ...]

    @property
    def kept(self) -> bool:
        """Whether everything promised held, memory and loop included."""
        return not self.problems and self.peak_mib < MOST_MIB and self.turn_ms < LONGEST_TURN_MS


async def undergo(play: Play, folder: Path) -> Outcome:
    """Listen to a healthy account and a hostile one, or deliver to a healthy receiver and a hostile one."""
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(Stage())
        well = await stack.enter_async_context(Receiver())
        spy = await stack.enter_async_context(Receiver())
        await asyncio.to_thread(next, iter(play.say({}, spy.url)))  # what takes time to make is made before
        watch = folder / "loop.json"
        at_sink = play.stage.of_a_sink
        port = stage.simulator.port
        if in_frames := play.stage is hostile.Stage.SOCKET:
            port = (await stack.enter_async_context(WebsocketFront(port))).port
        peer = await stack.enter_async_context(
            Peer(play, elsewhere=spy.url) if at_sink else Front(play, port=port, elsewhere=spy.url)
        )
        own = {"username": hostile.USER, "password": hostile.PASSWORD}
        of_a_team = [{**own, "monitor": "all"}] if play.of_a_supervisor else []
        listening = await stack.enter_async_context(
            Listening(
                folder,
                server={
                    "url": stage.simulator.url if at_sink else peer.url,
                    "transport": "websocket" if in_frames else "long-polling",
                },
                accounts=[*stage.settings["accounts"], *([] if at_sink or of_a_team else [own])],
                supervisors=of_a_team or None,
                sinks={
                    "audit": {"accounts": [AGENT]},  # to be read again and again, in the loop of the servers
                    "all": {"type": "file", "path": "all.jsonl"},
                    "well": {"type": "webhook", "url": well.url, "accounts": [AGENT]},
                    **({"bad": _sink(play.stage, peer.url)} if at_sink else {}),
                },
                program=(sys.executable, loopwatch.__file__, watch),
                shutdown_timeout_s=2.0,
            )
        )
        daemon = await listening.start(subscribed=False)
        problems = await _heard_at_all(listening)
        async with stage.publisher.streaming(pause_s=0.05):
            busy = await _busy_while_played(peer, daemon.pid)
        problems += await _wait_for_the_others(stage, listening, well)
        problems += await _harmed(play, listening)
        peak_mib = _peak_mib(daemon.pid)
        problems += await _stop(listening)
    problems += [f"the peer's redirect was followed {len(spy.posts) + len(spy.asked)} times"] * bool(spy.posts)
    turns = json.loads(watch.read_text())
    return Outcome(
        play=play,
        played=peer.played,
        peak_mib=peak_mib,
        turn_ms=turns["cpu_s"] * 1000,
        late_ms=turns["wall_s"] * 1000,
        busy=busy,
        problems=tuple(problems + ["it was never asked"] * (not peer.played)),
    )


def _sink(stage: hostile.Stage, url: str) -> dict[str, object]:
    """A sink that has to do with a receiver at this address."""
    webhook = {"type": "webhook", "url": url, "timeout_s": 3.0}
    match stage:
        case hostile.Stage.PERMISSION:
            return {**webhook, "validation": "options", "origin": "listener.example.com"}
        case hostile.Stage.TOKEN:
            return {**webhook, "oauth2": {"token_url": url, "client_id": "a", "client_secret": "b"}}
        case hostile.Stage.TUNNEL:
            return {**webhook, "url": "https://crm.example.com/", "proxy": url}
        case hostile.Stage.CHECKPOINT:
            return {"type": "file", "path": "watched.jsonl", "checkpoint_s": 0.5, "checkpoint_url": url}
    return webhook


async def _busy_while_played(peer: Peer, pid: int) -> float:
    """Return when the peer has had its say often enough, with the part of a core that this took."""
    least_s, most_s = PLAYS_S
    began, spent_s = time.monotonic(), _cpu_s(pid)
    await asyncio.sleep(least_s)
    with contextlib.suppress(AssertionError):
        await eventually(lambda: peer.played > PLAYS, timeout_s=most_s - least_s, interval_s=0.05)
    return (_cpu_s(pid) - spent_s) / (time.monotonic() - began)


async def _heard_at_all(listening: Listening) -> list[str]:
    try:
        await listening.daemon.logged("subscribed", account=AGENT, timeout_s=SETTLES_S)
    except AssertionError:
        return [f"the other account was not heard within {SETTLES_S:.0f} s"]
    return []


async def _wait_for_the_others(stage: Stage, listening: Listening, well: Receiver) -> list[str]:
    """What is wrong with the account and the sinks that nobody was hostile to."""
    problems = []
    sinks = {"the audit file": lambda: listening.events, "the other webhook": well.accepted}
    for name, events in sinks.items():
        try:
            await stage.arrived(events, timeout_s=SETTLES_S, what=lambda: "")
        except AssertionError:
            missing = {entry.value for entry in stage.ledger} - values(events())
            problems.append(f"{name} lacks {len(missing)} of {len(stage.ledger)}")
    gaps = [gap for gap in listening.gaps if gap.get("account") == AGENT]
    problems += [f"{len(gaps)} gaps of the other account"] * bool(gaps)
    problems += [f"{stage.handshakes} handshakes of the other account"] * (stage.handshakes != 1)
    return problems


async def _harmed(play: Play, listening: Listening) -> list[str]:
    """What is wrong with the account or the sink that the peer was for, where all should be well."""
    if not play.harmless:
        return []
    if play.stage is hostile.Stage.WEBHOOK:
        metrics = await listening.metrics()
        taken, failed = (metrics.total(f"sink_{what}_total", sink="bad") for what in ("delivered", "failures"))
        return [] if taken and not failed else [f"its sink delivered {taken} and failed {failed} times"]
    log = [line for line in listening.daemon.log if line.get("account") == hostile.USER]
    troubles = [line["reason"] for line in log if line["event"] == "session_problem" and line["reason"] != "not_held"]
    heard = any(line["event"] == "subscribed" for line in log)
    return [] if heard and not troubles else [f"its account was {'' if heard else 'not '}heard, with {troubles[:3]}"]


async def _stop(listening: Listening) -> list[str]:
    try:
        status = await asyncio.wait_for(listening.stop(), 15.0)
    except (TimeoutError, AssertionError):
        return ["it did not stop within 15 s"]
    return [f"it ended with {status}"] * (status != 0)


def _cpu_s(pid: int) -> float:
    """CPU time of a process so far: its 14th and 15th field, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024 / MIB
