"""Does the simulation bite? Each mutant switches off one safeguard of the product, and some seed must tell."""

import argparse
import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from rich.console import Console

from listener.audit.trail import Trail
from listener.cometd.engine import Engine
from listener.cometd.keep_alive import KeepAlive
from listener.cometd.lease import Lease
from listener.cometd.protocol import Phase, Session, Step
from listener.delivery import lane
from listener.delivery.lane import Lane
from listener.delivery.retry_state import RetryState
from listener.errors import JournalError
from listener.intake.monitoring import Monitoring
from listener.intake.receiver import Receiver
from listener.intake.reconciliation import Reconciler
from listener.intake.recorder import Recorder
from listener.intake.topics import Topics
from listener.journal.shared.journal import SharedJournal
from listener.journal.shared.membership import Membership
from listener.journal.sqlite import dead_letters, store
from listener.journal.sqlite.lock import FileLock
from listener.journal.sqlite.place import Place
from listener.runtime.clock import Moment
from listener.sinks.webhook import sink as webhook
from listener.testing.database import MemoryDatabase, _Replica
from listener.webservices import notifications
from listener.webservices.repeats import Repeats
from simulation.explore import BROKEN, play_seed
from simulation.oracle import Finding

MOST_SEEDS = 400
"""Within so many seeds each mutant must be caught."""

Make = Callable[[Any], Any]
"""Makes the function of the mutant from the product's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One safeguard that is switched off.

    Attributes:
        text: what the product does then.
        patches: owner, name and the function in its place.
        replicas: how many share a journal in the worlds that tell.
        media: whether emails and calls come there too.
        team: whether a supervisor hears some of the agents.
    """

    text: str
    patches: Sequence[tuple[Any, str, Make]]
    replicas: int = 0
    media: bool = False
    team: bool = False

    @contextmanager
    def alive(self) -> Iterator[None]:
        """The product without the safeguard."""
        before = [(owner, name, vars(owner)[name]) for owner, name, _ in self.patches]
        for owner, name, make in self.patches:
            setattr(owner, name, make(vars(owner)[name]))
        try:
            yield
        finally:
            for owner, name, original in before:
                setattr(owner, name, original)


def _grants_without_a_gap(original: Any) -> Any:
    def answered(self: Topics, fact: Any) -> list[Any]:
        original(self, fact)
        return []

    return answered


def _nothing(_: Any) -> Any:
    return lambda *_args, **_named: None


def _acknowledges_at_once(original: Any) -> Any:
    async def hand_out(self: Engine, received: Any, *rest: Any) -> None:
        self.session.confirm(received.ack)
        await original(self, received, *rest)

    return hand_out


def _waits_for_nothing(_: Any) -> Any:
    async def until(*_args: Any) -> None:
        return

    return until


def _subscribes_once(original: Any) -> Any:
    def advance(self: Session, request: Any, replies: Any) -> None:
        first = not hasattr(self, "has_begun")
        original(self, request, replies)
        if request.step is Step.HANDSHAKE:
            self.has_begun = True  # type: ignore[attr-defined]
            self.phase = self.phase if first else Phase.SUBSCRIBED

    return advance


def _takes_old_numbers(original: Any) -> Any:
    def events(self: Session, *rest: Any) -> Any:
        acked = self.acked
        self.acked = None if acked is None else -2
        try:
            return original(self, *rest)
        finally:
            self.acked = acked

    return events


def _acknowledges_more(original: Any) -> Any:
    def connect(self: Session, **named: Any) -> Any:
        request = original(self, **named)
        if "ext" in request.payload[0]:
            request.payload[0]["ext"]["ack"] += 1
        return request

    return connect


def _moves_first(original: Any) -> Any:
    async def carry(self: Lane, events: Any) -> None:
        self._cursor = events[-1].sequence
        self._moved.set()
        await asyncio.sleep(0)
        await original(self, events)

    return carry


def _forgets_resends(original: Any) -> Any:
    async def restore(self: RetryState) -> None:
        await original(self)
        self._state = replace(self._state, resend_after=0, resend_through=0)

    return restore


def _begins_late(original: Any) -> Any:
    def gap(self: Receiver, since: Moment, until: Moment, *rest: Any) -> Any:
        return original(self, since.earlier(-since.seconds_to(until) / 2), until, *rest)

    return gap


def _begins_early(original: Any) -> Any:
    def gap(self: Receiver, since: Moment, until: Moment, *rest: Any, **of: Any) -> Any:
        return original(self, since.earlier(4.0), until, *rest, **of)

    return gap


def _waits_for_longer(original: Any) -> Any:
    return lambda self: 10 * original(self)


def _forgets_to_sync(original: Any) -> Any:
    def connect(path: Any) -> Any:
        connection = original(path)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    return connect


def _believes_too_soon(original: Any) -> Any:
    def batch(self: Recorder, entries: Any, overlay: Any) -> Any:
        made = original(self, entries, overlay)
        for chat_id, values in overlay.items():
            self._chats[chat_id].values.update(values)
        return made

    return batch


class _OpenDoor:
    """A lock that keeps nobody out."""

    left = None

    def release(self) -> None:
        """Nothing is held."""

    def is_in_place(self) -> bool:
        """There is none to be taken away."""
        return True

    def note(self, known: object) -> None:
        """Nobody reads it."""


MUTANTS: Mapping[str, Mutant] = {
    "ack before commit": Mutant(
        text="a batch is acknowledged before it is durable",
        patches=[(Engine, "_hand_out", _acknowledges_at_once), (KeepAlive, "until", _waits_for_nothing)],
    ),
    "ack computed": Mutant(
        text="the number acknowledged is one more than the last that came",
        patches=[(Session, "_connect", _acknowledges_more)],
    ),
    "no re-subscribe": Mutant(
        text="only the first session is subscribed", patches=[(Session, "_advance", _subscribes_once)]
    ),
    "gap not written": Mutant(
        text="no gap is put on record", patches=[(Receiver, "_missed", lambda _: lambda *_args: False)]
    ),
    "gap begins late": Mutant(
        text="a gap begins in the middle of what it stands for", patches=[(Receiver, "_gap", _begins_late)]
    ),
    "gap begins early": Mutant(
        text="a gap begins four seconds before what it stands for", patches=[(Receiver, "_gap", _begins_early)]
    ),
    "slow to return": Mutant(
        text="the pause between two attempts is ten times as long", patches=[(Lease, "pause_s", _waits_for_longer)]
    ),
    "hold not learned": Mutant(
        text="polls that a proxy cuts go on asking for the same hold", patches=[(Engine, "_learn_hold", _nothing)]
    ),
    "no re-read": Mutant(text="chats are not read again after a gap", patches=[(Reconciler, "ask", _nothing)]),
    "no resume state": Mutant(
        text="what continues a session is not stored", patches=[(Receiver, "_session", _nothing)]
    ),
    "batch taken twice": Mutant(
        text="a batch that comes again is taken again",
        patches=[(Session, "_events", _takes_old_numbers), (Repeats, "drop_repeats", _nothing)],
    ),
    "repeats kept": Mutant(
        text="a notification that comes again is kept", patches=[(Repeats, "drop_repeats", _nothing)]
    ),
    "commit not synced": Mutant(
        text="SQLite does not sync its commits, and the power fails",
        patches=[(store, "connect_writer", _forgets_to_sync)],
    ),
    "values before commit": Mutant(
        text="events are classified by values that no commit has stored",
        patches=[(Recorder, "_batch", _believes_too_soon)],
    ),
    "cursor first": Mutant(text="the cursor is stored before the delivery", patches=[(Lane, "_carry", _moves_first)]),
    "retry dropped": Mutant(
        text="what a sink could not take for now is dropped", patches=[(lane, "left_of", lambda _: lambda *_args: [])]
    ),
    "resend forgotten": Mutant(
        text="a start does not go on with what is to be delivered again",
        patches=[(RetryState, "restore", _forgets_resends)],
    ),
    "dead letter dropped": Mutant(
        text="what a sink refuses leaves no dead letter", patches=[(dead_letters, "insert", _nothing)]
    ),
    "file written twice": Mutant(
        text="what stands in the audit file already is written again",
        patches=[(Trail, "_fresh", lambda _: lambda _self, events, *_args: range(len(events)))],
    ),
    "chat out of order": Mutant(
        text="events of one chat are posted side by side",
        patches=[(webhook, "chat_of", lambda _: lambda event: (event.id, ""))],
    ),
    "files not looked at": Mutant(
        text="nobody notices that the journal's files were removed",
        patches=[(Place, "missing", lambda _: lambda _self, **_named: [])],
    ),
    "no lock": Mutant(
        text="two listeners share a journal",
        patches=[(FileLock, "acquire", lambda _: classmethod(lambda *_args: _OpenDoor()))],
    ),
}


def _stores_for_anybody(original: Any) -> Any:
    def append(self: MemoryDatabase, me: int, *rest: Any) -> Any:
        if me in self._replicas:
            return original(self, me, *rest)
        self._replicas[me] = _Replica(me, "", version="", lease_s=1.0, now_s=0.0)
        try:
            return original(self, me, *rest)
        finally:
            del self._replicas[me]

    return append


def _asks_for_no_revision(original: Any) -> Any:
    def append(self: MemoryDatabase, me: int, number: int, batch: Any, _: Any, ages: Any) -> Any:
        return original(self, me, number, batch, {}, ages)

    return append


def _stores_a_number_again(original: Any) -> Any:
    def append(self: MemoryDatabase, me: int, number: int, *rest: Any) -> Any:
        if me in self._replicas:
            self._replicas[me].answers.pop(number, None)
        return original(self, me, number, *rest)

    return append


def _takes_doubt_for_failure(_: Any) -> Any:
    async def still_open(_self: SharedJournal, exc: Exception) -> None:
        raise JournalError(str(exc))

    return still_open


def _knows_already(_: Any) -> Any:
    async def refresh(*_args: Any) -> None:
        return

    return refresh


def _excuses_nobody(original: Any) -> Any:
    def is_late(self: _Replica, now_s: float, **_excused: float) -> Any:
        return original(self, now_s)

    return is_late


def _was_well_just_now(original: Any) -> Any:
    async def sessions(self: SharedJournal, *rest: Any) -> Any:
        now_ms, monotonic_ms = self._host.clock.now_ms(), int(self._monotonic_s() * 1000)
        found = await original(self, *rest)
        return {name: replace(one, seen_ms=now_ms, seen_monotonic_ms=monotonic_ms) for name, one in found.items()}

    return sessions


OF_REPLICAS: Mapping[str, Mutant] = {
    "late writes": Mutant(
        text="the database stores what an evicted replica sends",
        patches=[(MemoryDatabase, "append", _stores_for_anybody)],
        replicas=3,
    ),
    "no revisions": Mutant(
        text="the database does not look at what a batch was classified against",
        patches=[(MemoryDatabase, "append", _asks_for_no_revision)],
        replicas=3,
    ),
    "no numbers": Mutant(
        text="the database does not know a batch again that it has stored",
        patches=[(MemoryDatabase, "append", _stores_a_number_again)],
        replicas=3,
    ),
    "no steadiness": Mutant(
        text="a replica that was late itself evicts others",
        patches=[(_Replica, "is_steady", lambda _: lambda *_args: True), (_Replica, "is_late", _excuses_nobody)],
        replicas=3,
    ),
    "no eviction": Mutant(
        text="nobody evicts anybody",
        patches=[(_Replica, "is_steady", lambda _: lambda *_args: False)],
        replicas=3,
    ),
    "doubt is failure": Mutant(
        text="an append whose answer was lost is taken for one that failed",
        patches=[(SharedJournal, "_still_open", _takes_doubt_for_failure)],
        replicas=3,
    ),
    "own memory": Mutant(
        text="a look at the chats is compared with what this replica has heard alone",
        patches=[(Recorder, "_refresh", _knows_already)],
        replicas=3,
    ),
    "ack before a shared commit": Mutant(
        text="a batch is acknowledged before the database has it",
        patches=[(Engine, "_hand_out", _acknowledges_at_once), (KeepAlive, "until", _waits_for_nothing)],
        replicas=3,
    ),
    "no certainty": Mutant(
        text="a replica polls although others may have its sessions",
        patches=[(Membership, "is_certain", lambda _: lambda _self: True)],
        replicas=3,
    ),
    "no age": Mutant(
        text="who takes a session over takes it to have been well until then",
        patches=[(SharedJournal, "sessions", _was_well_just_now)],
        replicas=3,
    ),
}


OF_MEDIA: Mapping[str, Mutant] = {
    "one id": Mutant(
        text="an interaction goes by its id alone, whatever its medium",
        patches=[(notifications, "identity_of", lambda _: lambda _media_type, interaction_id: interaction_id)],
        media=True,
    ),
    "refusal forgotten": Mutant(
        text="a topic that is granted again leaves no gap",
        patches=[(Topics, "answered", _grants_without_a_gap)],
        media=True,
    ),
}

OF_TEAMS: Mapping[str, Mutant] = {
    "team not asked for again": Mutant(
        text="a supervisor that logs in again takes its team to be monitored still",
        patches=[(Monitoring, "logged_in", _nothing)],
        team=True,
    ),
    "taken out in silence": Mutant(
        text="a supervisor that is taken out of a chat takes the chat to be over",
        patches=[(Monitoring, "_note_revoked", _nothing)],
        team=True,
    ),
}

ALL = {**MUTANTS, **OF_REPLICAS, **OF_MEDIA, **OF_TEAMS}


def shown_by(mutant: Mutant, seed: int) -> list[Finding]:
    """What the oracle says of a mutant in the world of a seed; of a world that it breaks there is nothing to say."""
    with mutant.alive():
        outcome = play_seed(seed, mutant.replicas, media=mutant.media, team=mutant.team)
    return [one for one in outcome.unknown if one.promise != BROKEN]


def hunt(mutant: Mutant, seeds: Sequence[int]) -> tuple[int, Finding] | None:
    """How many seeds it takes to catch it, and what the last of them shows; None if none of them does."""
    for count, seed in enumerate(seeds, start=1):
        if found := shown_by(mutant, seed):
            return count, found[0]
    return None


def main(argv: Sequence[str]) -> int:
    """Print the table; returns 1 where a mutant got away."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation mutants", description=__doc__)
    parser.add_argument("--only", choices=ALL, help="this one")
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS, help="at most so many for each")
    parser.add_argument("--from", dest="start", type=int, default=0, help="the first of them")
    options = parser.parse_args(argv)
    console = Console(soft_wrap=True, highlight=False)
    console.print("| mutant | what the product does then | seeds | what the oracle said |\n| --- | --- | --- | --- |")
    escaped = 0
    for name, mutant in ALL.items():
        if options.only in (None, name):
            caught = hunt(mutant, range(options.start, options.start + options.seeds))
            escaped += caught is None
            count, said = ("**none**", "") if caught is None else (caught[0], str(caught[1]))
            console.print(f"| {name} | {mutant.text} | {count} | {said} |", markup=False)
    return int(escaped > 0)
