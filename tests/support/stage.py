"""The usual stage of a test about what the host does: a simulator that acknowledges, one agent, a stream, its books."""

from collections.abc import Callable, Sequence
from typing import Any, Self

from listener.simulator import Simulator, SimulatorOptions
from support.eventually import eventually
from support.ledger import KEY, Publication, Publisher
from support.listening import Json, Listening
from support.oracle import Promise, judge

AGENT = "agent1"


class Stage:
    """One agent's chats on a simulator. As a context manager the simulator runs.

    Args:
        chats: how many chats the stream goes round.
        max_interval_ms: how long the server keeps a session that does not poll.
        ack: whether it grants acknowledgements.
    """

    def __init__(self, *, chats: int = 3, max_interval_ms: int = 60_000, ack: bool = True) -> None:
        options = SimulatorOptions(agents=1, ack=ack, timeout_ms=1000, max_interval_ms=max_interval_ms)
        self.simulator = Simulator(options)
        self.chats = [f"chat-{number}" for number in range(chats)]
        for chat in self.chats:
            self.simulator.add_chat(chat)
        self.publisher = Publisher(self._send, chats=self.chats, agent=AGENT)

    async def __aenter__(self) -> Self:
        await self.simulator.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.simulator.stop()

    async def _send(self, _number: int, chat: str, value: str) -> int:
        return self.simulator.set_disposition(AGENT, chat, value, KEY).reference_id

    @property
    def settings(self) -> dict[str, Any]:
        """The tables of the configuration that lead there; polls that get no answer are given up soon."""
        waiting = {"poll_margin_s": 1.0, "connect_timeout_s": 2.0, "request_timeout_s": 5.0}
        account = {"username": AGENT, "password": self.simulator.options.password}
        return {"server": {"url": self.simulator.url, **waiting}, "accounts": [account]}

    @property
    def ledger(self) -> list[Publication]:
        return self.publisher.ledger

    @property
    def handshakes(self) -> int:
        return self.simulator.state()["handshakes"]

    @property
    def unacknowledged(self) -> int:
        """How many notifications the server still holds for its sessions."""
        return sum(session["queued"] for session in self.simulator.state()["sessions"])

    async def arrived(
        self, events: Callable[[], Sequence[Json]], *, timeout_s: float = 30.0, what: Callable[[], str]
    ) -> None:
        """Wait until all that was published so far is among the events."""
        due = {entry.value for entry in self.ledger}

        def standing() -> str:
            return f"{what()}\nmissing: {sorted(due - values(events()))}\nserver: {self.simulator.state()}"

        await eventually(lambda: not due - values(events()), timeout_s=timeout_s, interval_s=0.1, what=standing)

    async def all_written(self, listening: Listening, *, timeout_s: float = 30.0) -> None:
        """Wait until all that was published so far is in the audit file."""
        await self.arrived(lambda: listening.events, timeout_s=timeout_s, what=listening.daemon.output)

    def problems(self, events: Sequence[Json], *, chat: str | None = None) -> tuple[str, ...]:
        """What is wrong at a sink that lacks nothing, for a session that never ended; of one chat or of all."""
        ledger = [entry for entry in self.ledger if chat in (None, entry.chat)]
        verdict = judge(
            ledger, [event for event in events if chat in (None, event["subject"])], promise=Promise.NOTHING_MISSING
        )
        gaps = [f"{verdict.gaps} gaps"] if verdict.gaps else []
        handshakes = [f"{self.handshakes} handshakes"] if self.handshakes != 1 else []
        return *verdict.problems, *gaps, *handshakes


def values(events: Sequence[Json]) -> set[str]:
    """The dispositions of the events."""
    return {event["data"]["disposition"] for event in events if event["type"].endswith(".disposition")}


def doubled(events: Sequence[Json]) -> int:
    """How many lines there are too many."""
    return len(events) - len({event["id"] for event in events})
