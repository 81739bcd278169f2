"""A working day: chats, emails and calls come, get dispositions set, corrected, withdrawn, and end."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from listener.simulator.media import CHAT, MEDIA, VOICE, Medium
from listener.simulator.operations import Published
from listener.simulator.server import Simulator

CODES = ("IssueResolved", "Callback", "Escalated", "NoAnswer", "WrongDepartment", "FollowUp")
_LINES = ("Hello", "One moment, please", "Thank you", "Is there anything else?")
_CHATS_PER_AGENT = 2
_CONFERENCE_CHANCE = 0.3
_LATE_CORRECTION_CHANCE = 0.3


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What was played, counted as a listener on one session per agent would classify it.

    Attributes:
        chats: chats, emails and calls that came; `conferences` of them had two agents.
        set, changed, cleared: dispositions that were given, corrected, emptied.
        repeated: PropertiesUpdated that brought the known value again.
        silent: PropertiesUpdated without a disposition.
        unheard: codes of calls that were released before, of which nothing is notified.
    """

    chats: int
    conferences: int
    set: int
    changed: int
    cleared: int
    repeated: int
    silent: int
    unheard: int = 0
    media: tuple[str, ...] = (CHAT.name,)

    @property
    def came(self) -> str:
        """What came, in words."""
        words = [f"{MEDIA[name].container}s" for name in self.media]
        return f"{self.chats} {', '.join(words[:-1])}{' and ' if words[1:] else ''}{words[-1]}"

    @property
    def changes(self) -> int:
        """How often a disposition became another one."""
        return self.set + self.changed + self.cleared


async def play(
    sim: Simulator,
    *,
    events: int,
    pace: float,
    seed: int,
    agents: Sequence[str] | None = None,
    media: Sequence[str] = (CHAT.name,),
) -> Summary:
    """Play until `events` dispositions have changed and every chat, email and call has ended.

    The order of things depends on `seed` only. `pace` is the mean time between two steps, in seconds; 0 yields to the
    event loop between steps and never waits. `agents` are all of the simulator's by default.
    """
    wanted, rng = tuple(MEDIA[name] for name in media), random.Random(seed)  # noqa: S311 - dice of a play, nothing secret
    day = _Day(sim=sim, agents=tuple(agents or sim.center.agents), events=events, rng=rng, media=wanted)
    for _ in day.steps():
        await asyncio.sleep(pace * rng.uniform(0.5, 1.5))
    return day.summary()


class _Day:
    """The lives of several chats, interleaved; `left` is how many changes are still to come."""

    def __init__(
        self, *, sim: Simulator, agents: Sequence[str], events: int, rng: random.Random, media: Sequence[Medium]
    ) -> None:
        self._sim = sim
        self._desk = sim.desk
        self._agents = agents
        self._rng = rng
        self._media = media
        self._left = events
        self._codes: dict[str, str] = {}
        self._counts = dict.fromkeys(
            ("chats", "conferences", "set", "changed", "cleared", "repeated", "silent", "unheard"), 0
        )

    def steps(self) -> Iterator[None]:
        """Do one thing per step, in any of the chats under way."""
        lives: list[Iterator[None]] = []
        while self._left > 0 or lives:
            if self._left > 0 and len(lives) < _CHATS_PER_AGENT * len(self._agents):
                lives.append(self._life())
            life = self._rng.choice(lives)
            if next(life, life) is life:
                lives.remove(life)
            else:
                yield

    def summary(self) -> Summary:
        """The counts so far."""
        return Summary(**self._counts, media=tuple(medium.name for medium in self._media))

    def _life(self) -> Iterator[None]:
        """One chat, email or call from the invitation to its end."""
        medium = self._media[0] if len(self._media) == 1 else self._rng.choice(self._media)
        chat_id, members = self._arrive(medium)
        yield
        self._sim.operate(members[0], chat_id, "Answer" if medium is VOICE else "Accept")
        yield
        if medium is not CHAT:
            yield from self._dispose(chat_id, members)
            yield from self._end(chat_id, members[0], medium)
            return
        if len(self._agents) > 1 and self._rng.random() < _CONFERENCE_CHANCE:
            self._confer(chat_id, members)
            yield
        yield from self._talk(chat_id, members)
        yield from self._dispose(chat_id, members)
        yield from self._part(chat_id, members)
        self._codes.pop(chat_id, None)

    def _arrive(self, medium: Medium) -> tuple[str, list[str]]:
        chat_id, agent = self._sim.center.fresh_chat_id(), self._rng.choice(self._agents)
        self._counts["chats"] += 1
        data = _arrival_data(self._rng)
        key = self._desk.invite(chat_id, agent, user_data=data, base_url=self._sim.url, medium=medium)
        return key, [agent]

    def _confer(self, chat_id: str, members: list[str]) -> None:
        newcomer = self._rng.choice([agent for agent in self._agents if agent not in members])
        self._desk.join(chat_id, members[0], newcomer, base_url=self._sim.url)
        self._counts["conferences"] += 1
        members.append(newcomer)

    def _talk(self, chat_id: str, members: Sequence[str]) -> Iterator[None]:
        for _ in range(self._rng.randint(1, 3)):
            self._desk.write(chat_id, members[0], self._rng.choice(_LINES), base_url=self._sim.url)
            yield
            self._sim.operate(self._rng.choice(members), chat_id, "SendMessage", message=self._rng.choice(_LINES))
            yield
        self._attach(chat_id, members, {"Topic": self._rng.choice(("Billing", "Delivery", "Account"))})
        yield

    def _dispose(self, chat_id: str, members: Sequence[str]) -> Iterator[None]:
        """Give the chat its outcome, and think again."""
        self._set(chat_id, members)
        yield
        for _ in range(self._rng.randint(0, 3)):
            match self._rng.choice(("correct", "note", "withdraw", "empty")):
                case "correct":
                    self._set(chat_id, members)
                case "note":  # repeats the code in a full snapshot
                    self._attach(chat_id, members, {"Notes kept?": self._rng.choice((True, False))})
                case "withdraw":  # the key is absent, which says nothing
                    self._withdraw(chat_id, members)
                    yield
                    self._set(chat_id, members)
                case _:
                    self._empty(chat_id, members)
                    yield
                    self._set(chat_id, members)
            yield

    def _part(self, chat_id: str, members: Sequence[str]) -> Iterator[None]:
        """Everybody leaves and completes; the last may correct the outcome in between."""
        for agent in members:
            self._sim.operate(agent, chat_id, "Leave")
            yield
        if self._rng.random() < _LATE_CORRECTION_CHANCE:
            self._set(chat_id, members)
            yield
        for agent in members:
            self._sim.operate(agent, chat_id, "Complete")
            yield

    def _end(self, key: str, agent: str, medium: Medium) -> Iterator[None]:
        """Of a call a code is set once more, after its release: no desktop hears of it."""
        if medium is VOICE:
            self._sim.operate(agent, key, "Release")
            yield
            self._counts["unheard"] += self._sim.set_disposition(agent, key, self._rng.choice(CODES)) is None
            yield
        self._sim.operate(agent, key, "Complete")
        self._codes.pop(key, None)
        yield

    def _set(self, chat_id: str, members: Sequence[str]) -> None:
        """Set a code that is not the last one, as long as changes are left."""
        if self._left > 0:
            code = self._rng.choice([code for code in CODES if code != self._codes.get(chat_id)])
            self._left -= 1
            self._note(self._sim.set_disposition(self._rng.choice(members), chat_id, code))

    def _empty(self, chat_id: str, members: Sequence[str]) -> None:
        """Empty the value: a change only where there is one."""
        if self._left > 0 and self._codes.get(chat_id):
            self._left -= 1
            self._attach(chat_id, members, {self._sim.options.disposition_key: ""}, operation="UpdateUserData")

    def _withdraw(self, chat_id: str, members: Sequence[str]) -> None:
        keys = [self._sim.options.disposition_key]
        self._note(self._sim.operate(self._rng.choice(members), chat_id, "DeleteUserData", keys=keys))

    def _attach(
        self, chat_id: str, members: Sequence[str], user_data: dict[str, Any], *, operation: str = "AttachUserData"
    ) -> None:
        self._note(self._sim.operate(self._rng.choice(members), chat_id, operation, userData=user_data))

    def _note(self, published: Published | None) -> None:
        """Count a PropertiesUpdated against the last value that was heard of the chat."""
        if published is None or published.key is None:
            self._counts["silent"] += 1
            return
        last = self._codes.get(published.chat_id, "")
        self._codes[published.chat_id] = published.value
        if published.value == last:
            self._counts["repeated"] += 1
        elif not published.value:
            self._counts["cleared"] += 1
        else:
            self._counts["changed" if last else "set"] += 1


def _arrival_data(rng: random.Random) -> dict[str, Any]:
    """User data as sites have it: strings, empty ones, numbers, nulls, nested objects, awkward keys."""
    return {
        "Channel": "web",
        "Preferred language": rng.choice(("en", "de", "fr")),
        "Priority": rng.randint(1, 5),
        "Survey": "",
        "Callback?": None,
        "Routing:Queue>Web": {"Name": "General", "Waited": rng.randint(0, 120)},
    }
