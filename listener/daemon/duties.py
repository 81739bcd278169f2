"""What there is to do by a configuration, and who does it where a process has its journal for itself: all of it."""

import asyncio
from collections.abc import Collection, Iterable

from listener.config.settings import Settings
from listener.model.replica import ACCOUNT, HOUSEKEEPING, LANE, Changes, Offer, Order


def offers_of(settings: Settings) -> tuple[Offer, ...]:
    """Everything that a process of this configuration could do."""
    return (
        *(Offer(duty=LANE + name, only=lane.on) for name, lane in settings.sinks.items()),
        *(Offer(duty=ACCOUNT + account.username) for account in settings.listening_accounts()),
        Offer(duty=HOUSEKEEPING),
    )


def named(kind: str, duties: Iterable[str]) -> list[str]:
    """The names of the accounts (`ACCOUNT`) or of the sinks (`LANE`) among duties."""
    return [duty.removeprefix(kind) for duty in duties if duty.startswith(kind)]


class EveryDuty:
    """`ports.Duties` of the only process: what it offers is its own, from then on."""

    is_shared = False

    def __init__(self) -> None:
        self._held: dict[str, None] = {}
        self._given: list[str] = []
        self._offered = asyncio.Event()

    @property
    def held(self) -> Collection[str]:
        """What was offered and is not released."""
        return self._held.keys()

    async def offer(self, offers: Collection[Offer]) -> None:
        """All of it is given."""
        self._given += [offer.duty for offer in offers if offer.duty not in self._held]
        self._held |= dict.fromkeys(self._given)
        self._offered.set()

    async def changes(self) -> Changes:
        """What was offered since the last time."""
        await self._offered.wait()
        self._offered.clear()
        given, self._given = self._given, []
        return Changes(given=tuple(given))

    def carried_out(self, order: Order) -> None:
        """There is none."""

    async def release(self, duties: Collection[str]) -> None:
        """They are nobody's."""
        for duty in duties:
            self._held.pop(duty, None)

    def is_certain(self) -> bool:
        """Always."""
        return True

    async def certainty(self) -> None:
        """At once."""

    def report(self, duty: str, report: bytes) -> None:
        """Nobody else asks."""

    def report_process(self, report: bytes) -> None:
        """Nobody else asks."""

    async def order(self, _duty: str, _what: str, /) -> str | None:
        """Nobody else has anything."""
        return None

    async def leave(self) -> None:
        """Nobody else waits for it."""
