"""Rereads an account's chats, emails, calls: after each gap, and periodically to check that the subscription lives."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import Any, Protocol

import msgspec
import structlog

from listener.errors import (
    JournalDamaged,
    JournalFenced,
    ListenerError,
    LoginRefused,
    Unreachable,
    WebServicesError,
)
from listener.intake.look import Before, Look
from listener.model.event import Difference, Entry, Gap, Observation
from listener.model.media import CHAT, MediaType, media_type_of
from listener.runtime.chore import Chore
from listener.runtime.clock import Clock, Moment
from listener.runtime.host import THIS_HOST
from listener.runtime.metrics import Metrics
from listener.runtime.turn import Turn
from listener.webservices.answers import pieces
from listener.webservices.media import MEDIA
from listener.webservices.notifications import NotificationDecoder
from listener.webservices.repeats import SeenChats

log = structlog.get_logger(__name__)

_QUIET_S = 0.01
_SETTLE_S = 0.5  # behind the next poll, notifications sent before the chats were read have arrived, and count as newer
_CONFIRM_S = 5.0  # a difference that a slow notification explains is gone by then
_AGAIN_S = 10.0
_LAG_S = 5.0  # by which a list of chats may be older than what was notified
_UNSET = hash(None)  # a key that is not there, and one that is empty
_AT_ONCE = 2000  # observations that are compared or recorded in one step of the event loop
_OVERTAKEN_AT_MOST = 3  # looks in a row; then the next one in its turn has to do


class Rest(Protocol):
    """What is needed of the REST API."""

    async def chats(self, media_type: MediaType = CHAT) -> Sequence[msgspec.Raw]:
        """The account's chats now, or its interactions of another medium. Raises ListenerError."""

    async def keepalive(self) -> None:
        """Keep the login from idling out. Raises ListenerError."""


class Subscription(Protocol):
    """What is needed of the receiver whose chats these are."""

    turn: Turn
    seen_chats: SeenChats

    def pending(self) -> bool:
        """Whether received facts wait to be processed."""

    def pause_s(self) -> float:
        """How long what the server has may wait for the next poll."""

    def is_connected(self) -> bool:
        """Whether polls are granted: what is notified now is heard now."""

    def is_heard(self, chat_id: str) -> bool:
        """Whether the topic of the interaction's medium is granted."""

    def is_healthy(self) -> bool:
        """Whether the session is connected and nothing is known to be missing."""

    async def subscribe_again(self) -> bool:
        """Subscribe again in the living session; whether that was granted."""

    def polled_at(self) -> Moment | None:
        """When the last poll was sent that was answered."""

    def suspect(self, polled_at: Moment | None) -> None:
        """A look at the chats has found what was not told yet; `polled_at` as it was when they had come."""

    def trust(self) -> None:
        """Everything in the chats had been told."""

    def found_dead(self, until: Moment | None) -> Gap | None:
        """The subscription was dead although polls succeeded. Returns the gap, up to when it was subscribed to again.

        None if it could not be, or has heard nothing since the last time: a new handshake follows, and records it.
        """


class Reconciler:
    """Compares the chats with the journal, and records what was missed.

    Args:
        account: whose chats.
        media: what of them is read.
        rest: where they are read.
        decoder: takes the dispositions out of them.
        record: stores an entry; returns once it is durable.
        differences: which observations would be new now.
        metrics: counts.
        clock: both clocks.
        interval_s: between two checks of a session that seems alive; 0 for none.
        uniform: source of randomness, `random.uniform` by signature.
        tell: told after each comparison why the account's chats could not be read; None if they could.

    Attributes:
        subscription: what is known of the session; its receiver puts itself here.
    """

    __slots__ = (
        "_account",
        "_asked",
        "_before",
        "_chore",
        "_clock",
        "_continued",
        "_decoder",
        "_differences",
        "_interval_s",
        "_media",
        "_metrics",
        "_missed",
        "_overtaken",
        "_owed",
        "_put_off",
        "_reading",
        "_record",
        "_rest",
        "_tell",
        "_uniform",
        "_unread",
        "subscription",
    )

    subscription: Subscription

    def __init__(
        self,
        *,
        account: str,
        rest: Rest,
        decoder: NotificationDecoder,
        record: Callable[[Entry], Awaitable[None]],
        differences: Callable[[Sequence[Observation], float], Awaitable[Sequence[Difference]]],
        metrics: Metrics,
        clock: Clock,
        interval_s: float,
        uniform: Callable[[float, float], float] = THIS_HOST.random.uniform,
        media: Sequence[MediaType] = (CHAT,),
        tell: Callable[[str, str | None], None] = lambda _account, _why: None,
    ) -> None:
        self._account = account
        self._media = media
        self._unread: set[MediaType] = set()
        self._rest = rest
        self._decoder = decoder
        self._record = record
        self._differences = differences
        self._metrics = metrics
        self._clock = clock
        self._interval_s = interval_s
        self._uniform = uniform
        self._asked = False
        self._chore: Chore | None = None
        self._reading = False
        self._missed = False
        self._owed = False
        self._put_off = False
        self._continued = False
        self._overtaken = 0
        self._tell = tell
        self._before: Before | None = None

    @property
    def _log(self) -> Any:
        return log.bind(account=self._account)

    @property
    def is_due(self) -> bool:
        """Whether something may have been missed and the chats have not been reread yet."""
        return self._owed or (self._missed and (self._reading or self._asked))

    def ask(self) -> None:
        """Something may have been missed: reread now."""
        self._missed = True
        self._continued = False
        self.check()

    def check(self) -> None:
        """The very first subscription exists: reread now, since a change between `learn` and it was not notified.

        Found by a later check, it would look like the effect of a dead subscription.
        """
        self._asked = True
        if self._chore is not None:
            self._chore.now()

    def owe(self) -> None:
        """Reread once the session has delivered what it still holds, which is older than the chats."""
        self._owed = True

    def polled(self) -> None:
        """A poll was answered to its end: what the session had held before is heard."""
        if self._owed:
            self._owed = False
            is_without_gap = not self._missed
            self.ask()
            self._continued = is_without_gap
        elif self._put_off and self._chore is not None:
            self._chore.now()

    async def learn(self, *, prime: bool) -> None:
        """Before the very first subscription: store the chats' values, which the first notifications will change.

        Read later, a change notified at that moment would look like a known one.
        """
        asked_at = Moment.of(self._clock)
        try:
            await self._compare(await self._read(asked_at), prime=prime)
        except ListenerError as exc:
            _raise_damage(exc)
            self._log.warning("chats_not_read", error=str(exc), effect="`previous` may be unknown at first")

    def begin(self, tasks: asyncio.TaskGroup) -> Chore:
        """Reread whenever asked to, and otherwise in intervals, until the chore is ended."""
        chore = self._chore = Chore(
            tasks,
            f"reread {self._account}",
            self._reread,
            every_s=self._interval_s,
            first_s=self._interval_s * self._uniform(0.5, 1.0),  # spreads the accounts
        )
        if self._asked:
            chore.now()
        return chore

    async def _reread(self) -> None:
        if not self._asked:
            await self._check()
        while self._asked:
            await self._after_gap()

    async def _after_gap(self) -> None:
        self._asked = False
        self._reading = True
        subscribed = False
        if self._continued:
            await self._settle(_SETTLE_S)  # a session that goes on subscribes of its own accord, and that comes first
            subscribed = await self.subscription.subscribe_again()
        try:
            look = await self._read(Moment.of(self._clock))
            await self._settle(_SETTLE_S)
            # What the server could not tell while polls failed is older than what the chats said, and comes first.
            await _until(self.subscription.is_connected, every_s=_SETTLE_S)
            gap = await self._died_before(look, subscribed=subscribed) if self._continued else None
        except ListenerError as exc:
            _raise_damage(exc)
            self._failed(exc)
            self._log.warning("reconciliation_failed", error=str(exc))
            await asyncio.sleep(_AGAIN_S)
            self._asked = True
        else:
            self._continued = False
            await self._compare(look, prime=False, gap=gap)
            self._count("done")
            self._before = Before(look)
            await self._read_again_if_overtaken(look)
            self._reading = False
            self._missed = self._asked

    async def _died_before(self, look: Look, *, subscribed: bool) -> Gap | None:
        """A session that was continued without a gap has told what it held: the rest shows a dead subscription."""
        untold = self._untold(look, await self._news(look))
        if untold:
            self.subscription.suspect(look.polled_at)
            await self._until_explained()
            untold = self._untold(look, await self._news(look))
        if not self._continued:
            return None  # the gap that came meanwhile is what counts
        if not untold:
            self.subscription.trust()
            return None
        return await self._report_dead(len(untold), look.asked_at if subscribed else None)

    async def _read_again_if_overtaken(self, look: Look) -> None:
        """What was heard meanwhile may have been older than what was read: only a younger look can tell."""
        try:
            overtaken = bool(await self._would_be_new(look))
        except ListenerError as exc:
            _raise_damage(exc)
            overtaken = True
        self._overtaken = self._overtaken + 1 if overtaken else 0
        if 0 < self._overtaken <= _OVERTAKEN_AT_MOST:
            self._asked = True

    async def _check(self) -> None:
        """Subscribe again, and compare while all seems well. What was never notified shows a dead subscription.

        To subscribe comes first: whatever the chats do not say yet is heard then. What an outage keeps from it is made
        up once, when it is over: it may leave no gap, whose re-reading would do.
        """
        was_put_off, self._put_off = self._put_off, not self.subscription.is_connected()
        if not self.subscription.is_healthy():
            return
        subscribed = await self.subscription.subscribe_again()
        self._put_off = not subscribed and not was_put_off
        try:
            look = await self._read(Moment.of(self._clock))
            await self._settle(_SETTLE_S)
            found = await self._news(look)
            untold = self._untold(look, found)
            if untold and not self._asked:  # by a gap, whose re-reading is what counts
                self.subscription.suspect(look.polled_at)
            if found or untold:
                await self._until_explained()
                found = await self._news(look)
        except ListenerError as exc:
            _raise_damage(exc)
            self._failed(exc)
            self._log.warning("reconciliation_check_failed", error=str(exc))
            self._put_off = not was_put_off and (not subscribed or not self.subscription.is_connected())
            return
        if self._asked or not self.subscription.is_healthy():
            return
        self._count("different" if found else "done")
        untold = self._untold(look, found)
        gap = await self._report_dead(len(untold), look.asked_at if subscribed else None) if untold else None
        if not untold:
            self.subscription.trust()
        if found or gap is not None:
            await self._compare(look, prime=False, gap=gap)
        self._before = Before(look)
        # One that was held up, as by a journal that could not commit, says little of now.
        held_up_s = self._clock.monotonic_s() - look.asked_s - 2 * self.subscription.pause_s()
        self._put_off |= held_up_s > _AGAIN_S and not was_put_off

    async def _until_explained(self) -> None:
        """Until a slow notification has come, also one that waits for polls to succeed again."""
        await self._settle(_CONFIRM_S)
        if not self.subscription.is_connected():
            await _until(self.subscription.is_connected, every_s=_SETTLE_S)
            await self._settle(_CONFIRM_S)

    async def _report_dead(self, untold: int, until: Moment | None) -> Gap | None:
        self._metrics.count("unreported_changes_total", untold)
        if until is None and await self.subscription.subscribe_again():
            until = Moment.of(self._clock)
            self._put_off = False
            self.ask()  # what was set since the chats were read is in the gap too, and no sign of another death
        gap = self.subscription.found_dead(until)
        self._log.error(
            "subscription_dead",
            unreported=untold,
            gap=None if gap is None else f"{gap.from_} to {gap.to}",
            effect="a new handshake" if gap is None else "the session was subscribed again",
        )
        return gap

    async def _news(self, look: Look) -> list[Observation]:
        """What would be an event now."""
        await self._until_quiet()
        return [one.observation for one in await self._would_be_new(look) if not one.overtaken]

    async def _would_be_new(self, look: Look) -> list[Difference]:
        found = list[Difference]()
        for start in range(0, len(look.observations), _AT_ONCE):
            if start:
                await asyncio.sleep(0)
            found += await self._differences(look.observations[start : start + _AT_ONCE], look.asked_s)
        return found

    def _untold(self, look: Look, news: Sequence[Observation]) -> list[str]:
        """The chats of which this session was not told something that they say, whatever others were told of them."""
        seen, before = self.subscription.seen_chats, self._before
        new = {(one.chat_id, one.key) for one in news}
        untold = [
            one.chat_id
            for one in look.observations
            if self._was_missed(one, look, is_news=(one.chat_id, one.key) in new)
        ]
        if before is not None:
            ended, begun = before.going_on - look.going_on, look.going_on - before.going_on
            untold += [chat for chat in _of(look.media, ended) if not seen.since(chat, before.asked_s - _LAG_S)]
            untold += [chat for chat in _of(before.media, begun) if not seen.by(chat, look.asked_s)]
        return [chat for chat in dict.fromkeys(untold) if self._has_to_be_told(chat)]

    def _has_to_be_told(self, chat_id: str) -> bool:
        """Whether silence proves anything: not of what the server refuses, nor of what is not documented."""
        return self.subscription.is_heard(chat_id) and MEDIA[media_type_of(chat_id)].is_documented

    def _was_missed(self, read: Observation, look: Look, *, is_news: bool) -> bool:
        """Whether the session should have been told of this value since the look before, and was not."""
        if not MEDIA[read.media_type].tells_after_end and read.chat_id not in look.going_on:
            return False
        seen, before, value = self.subscription.seen_chats, self._before, hash(read.value)
        known = before if before is not None and read.chat_id in before.going_on else None
        looked_s = -math.inf if before is None else before.asked_s - _LAG_S
        # Of a chat that came back since the look before, what was told earlier was of an earlier time in it.
        since_s = looked_s if known is not None or seen.since(read.chat_id, looked_s) else -math.inf
        told = seen.told(read.chat_id, read.key, since_s, look.asked_s)
        if value in told or seen.has_forgotten(read.chat_id, read.key, since_s):
            return False
        if any(at_s <= look.asked_s and (known is None or at_s >= known.asked_s) for at_s in told.values()):
            return True  # another was the last one when the chats were read
        if known is not None:
            return value != known.values.get((read.chat_id, read.key), _UNSET)
        # The first value of a chat may have come with it, by a transfer that was told without it.
        return is_news and read.chat_id not in seen

    async def _read(self, asked_at: Moment) -> Look:
        observations, going_on, media = list[Observation](), set[str](), set[MediaType]()
        for medium in self._media:
            if (chats := await self._read_medium(medium)) is None:
                continue
            media.add(medium)
            for number, piece in enumerate(pieces(chats)):
                if number:
                    await asyncio.sleep(0)  # a supervisor may have ten thousand
                read = self._decoder.decode_read(
                    piece, account=self._account, received_ms=asked_at.wall_ms, media_type=medium
                )
                observations += read.observations
                going_on.update(read.chats)
        return Look(
            asked_at=asked_at,
            polled_at=self.subscription.polled_at(),  # one that was answered meanwhile may have been so before
            observations=observations,
            going_on=frozenset(going_on),
            media=frozenset(media),
        )

    async def _read_medium(self, media_type: MediaType) -> Sequence[msgspec.Raw] | None:
        """None where the server refuses to list a medium other than chat: said once, and no others go without."""
        try:
            chats = await self._rest.chats(media_type)
        except WebServicesError as exc:
            if media_type == CHAT or isinstance(exc, LoginRefused | Unreachable):
                raise
            if media_type not in self._unread:
                self._unread.add(media_type)
                effect = "what is missed of this medium is not found by reading it again"
                self._log.warning("medium_not_read", medium=media_type, error=str(exc), effect=effect)
            return None
        self._unread.discard(media_type)
        return chats

    async def _compare(self, look: Look, *, prime: bool, gap: Gap | None = None) -> None:
        """Record the chats after everything that is still on its way to the journal.

        They hold as of the time at which they were asked for: what has been heard since then may be newer.
        """
        await self._until_quiet()
        async with self.subscription.turn:
            for start in range(0, len(look.observations) or (gap is not None), _AT_ONCE):
                entry = Entry(
                    account=self._account,
                    observations=tuple(look.observations[start : start + _AT_ONCE]),
                    gap=None if start else gap,
                    origin_id=f"reread:{look.asked_at.wall_ms}" + (f":{start}" if start else ""),
                    as_of_s=look.asked_s,
                    prime=prime,
                )
                await self._record(entry)

    async def _settle(self, seconds: float) -> None:
        """Let everything arrive that was notified before, also where polls are made at intervals."""
        await asyncio.sleep(seconds + self.subscription.pause_s())

    async def _until_quiet(self) -> None:
        await _until(lambda: not (self.subscription.pending() or self.subscription.turn.locked()), every_s=_QUIET_S)

    def _count(self, result: str) -> None:
        self._metrics.count("reconciliations_total", 1, result)
        self._tell(self._account, None)

    def _failed(self, exc: ListenerError) -> None:
        self._metrics.count("reconciliations_total", 1, "failed")
        if isinstance(exc, WebServicesError):
            self._tell(self._account, str(exc))


def _of(media: Collection[str], chat_ids: Iterable[str]) -> list[str]:
    """The interactions of these media, in order."""
    return sorted(chat for chat in chat_ids if media_type_of(chat) in media)


def _raise_damage(exc: ListenerError) -> None:
    """A damaged journal is for the supervisor's next start, a fenced process begins anew; everything else passes."""
    if isinstance(exc, JournalDamaged | JournalFenced):
        raise exc


async def _until(is_so: Callable[[], bool], *, every_s: float) -> None:
    while not is_so():  # noqa: ASYNC110 - nothing signals it, and seconds do not matter
        await asyncio.sleep(every_s)
