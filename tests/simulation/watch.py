"""What the database of several replicas does, as evidence: who has which duty, what is stored, and for whom."""

from typing import Any

from listener.errors import JournalFenced
from listener.testing.database import MemoryDatabase
from simulation.database import Call
from simulation.evidence import Owned, Shared, Stored
from simulation.loop import Loop


class Watch:
    """Looks at the database after each call.

    Args:
        loop: of the world.
        state: the database, from within.
        shared: where it is noted.
    """

    def __init__(self, loop: Loop, state: MemoryDatabase, shared: Shared) -> None:
        self._loop = loop
        self._state = state
        self._shared = shared
        self._joined: dict[int, tuple[str, float]] = {}
        self._alive: frozenset[int] = frozenset()
        self._last_sequence = 0
        self._owners: dict[str, tuple[int, int, float]] = {}

    def look(self, call: Call, outcome: Any) -> None:
        """It has dealt with this call."""
        now_s, me = self._loop.now_s, call.me
        is_done = not isinstance(outcome, Exception)
        if is_done and call.name == "join":
            self._joined[outcome.incarnation] = (call.host, now_s)
        elif is_done and me is not None and me not in self._alive:
            self._shared.late.append((now_s, f"{call.name} of incarnation {me} on {call.host}, which was gone"))
        elif isinstance(outcome, JournalFenced) and me in self._alive:
            self._shared.late.append(
                (now_s, f"{call.name} of incarnation {me} on {call.host} was refused: it is alive")
            )
        if is_done and call.name == "read":
            self._look_for_holes(call, [event.sequence for event in outcome])
        if call.name in ("join", "offer", "beat", "release", "leave", "drain"):
            before = self._alive
            self._note_owners(now_s)
            if call.name == "beat":
                self._shared.evicted += [(now_s, *self._joined[one]) for one in sorted(before - self._alive)]
        if is_done and call.name == "append":
            self._note_stored(now_s, call.host)
            self._shared.sessions |= {one.client_id for one in self._state.store.sessions.values()}

    def _look_for_holes(self, call: Call, sequences: list[int]) -> None:
        after = call.do.args[0]
        if sequences != list(range(after + 1, after + 1 + len(sequences))):
            self._shared.torn.append((self._loop.now_s, f"behind {after} {call.host} was shown {sequences[:5]}…"))

    def _note_stored(self, now_s: float, host: str) -> None:
        for event in self._state.store.read(self._last_sequence, 100_000):
            self._last_sequence = event.sequence
            self._shared.stored.append(Stored(at=now_s, host=host, event=event))

    def _note_owners(self, now_s: float) -> None:
        self._alive = frozenset(self._state._replicas)
        for name, duty in self._state._duties.items():
            before = self._owners.get(name)
            if before is not None and (duty.owner, duty.epoch) == before[:2]:
                continue
            self._end(name, now_s)
            if duty.owner:
                self._owners[name] = (duty.owner, duty.epoch, now_s)

    def _end(self, duty: str, now_s: float) -> None:
        before = self._owners.pop(duty, None)
        if before is not None:
            incarnation, _, since = before
            host, _ = self._joined[incarnation]
            self._shared.owned.append(Owned(duty=duty, host=host, incarnation=incarnation, since=since, until=now_s))

    def close(self) -> None:
        """The world is at its end."""
        self._shared.at_the_end = {one.duty: one.replica for one in self._state.duties()}
        for duty in list(self._owners):
            self._end(duty, float("inf"))
