"""Between the receivers and the journal: classifies in one order, and commits groups over all accounts."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

import msgspec
import structlog

from listener.errors import JournalError, JournalStale
from listener.model.event import (
    Change,
    Difference,
    Disposition,
    Entry,
    Event,
    Gap,
    JournalBatch,
    Kind,
    LastValue,
    Observation,
    Origin,
    SessionState,
    rfc3339,
)
from listener.model.media import CHAT, MediaType, plain_id
from listener.ports import Journal
from listener.runtime.backoff import Backoff
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.latch import Latch
from listener.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

_ENCODER = msgspec.json.Encoder()
_KNOWN_CHATS = 100_000
_CALLED_AT_ONCE = 50  # of those whose entries are durable, in one step of the event loop
_LARGEST_GROUP = 2_000  # observations: some 15 ms of the event loop
_NOTHING = JournalBatch()
_ID_DIGITS, _MARK_DIGITS = 40, 8
_LONG_AGO_S = float("-inf")
# The name of a member of an Enum is looked up by a function in Python 3.11: several times for each event.
_SET, _CHANGED, _UNCHANGED, _CLEARED = Change.SET, Change.CHANGED, Change.UNCHANGED, Change.CLEARED
_RECONCILED, _DISPOSITION = Origin.RECONCILED, Kind.DISPOSITION
Values = dict[str, LastValue]


class _Chat:
    """What is known of one chat, by key: the last values, and as of when each holds (monotonic seconds).

    That may be later than the value came: who repeats it says that it still holds. It is not stored, since after a
    start everything known is older than any look at the chats.

    Attributes:
        is_known: what the journal has of it is here. Until then it is taken for new, and the journal objects if not.
    """

    __slots__ = ("as_of_s", "is_known", "values")

    def __init__(self) -> None:
        self.is_known = False
        self.values: Values = {}
        self.as_of_s: dict[str, float] = {}

    def holds(self, key: str, as_of_s: float) -> None:
        """The last value of this key was heard or read again, whether or not a commit has stored it yet."""
        if as_of_s > self.as_of_s.get(key, _LONG_AGO_S):
            self.as_of_s[key] = as_of_s

    def forget(self) -> Values | None:
        """Know nothing any more; returns what was known, None if the chat was taken for new.

        One that was taken for new was not heard of before what is classified now, which comes again.
        """
        known = self.values if self.is_known else None
        if known is None:
            self.as_of_s.clear()
        self.is_known, self.values = False, {}
        return known

    def has_overtaken(self, heard: Observation, as_of_s: float) -> bool:
        """Whether the key was heard of after the chats that say this were asked for: it may be the newer of the two."""
        return heard.origin is _RECONCILED and self.as_of_s.get(heard.key, _LONG_AGO_S) > as_of_s


class Recorder:
    """The only writer of events.

    Entries that arrive while a commit is under way share the next one. They are classified against the last values in
    the order of their arrival, and a group whose commit failed is classified again: `previous` is always that of the
    event before in the journal. A journal that cannot take a group is tried until it can; the callers wait, and what
    they have not been promised the server still holds.

    Args:
        journal: where it goes.
        metrics: counts events by change.
        source: CloudEvents `source`, of whatever `sources` has none for.
        sources: those of other media than chats, by medium.
        type_prefix: what the CloudEvents `type` starts with.
        backoff: pauses while the journal cannot commit.
        on_record: called with each group of events once it is durable.
        host: time and chance.
        is_alone: whether nobody else writes to the journal: then what is remembered of a chat is what it has.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        metrics: Metrics,
        source: str,
        type_prefix: str,
        sources: Mapping[MediaType, str] | None = None,
        backoff: Backoff | None = None,
        on_record: Callable[[tuple[Event, ...]], None] | None = None,
        host: Host = THIS_HOST,
        is_alone: bool = True,
    ) -> None:
        self._journal = journal
        self._is_alone = is_alone
        self._monotonic_s = host.clock.monotonic_s
        self._metrics = metrics
        self._source = source
        self._sources = sources or {}
        self._disposition_type = f"{type_prefix}.chat.{Kind.DISPOSITION}"
        self._gap_type = f"{type_prefix}.chat.{Kind.GAP}"
        self._backoff = backoff or Backoff(first_s=0.2, limit_s=1.0, uniform=host.random.uniform)
        self._on_record = on_record
        self._received_at = lru_cache(maxsize=16)(rfc3339)  # a batch is received in one moment
        self._waiting: list[tuple[Entry, Callable[[], None]]] = []
        self._to_refresh: list[tuple[frozenset[str], Latch]] = []
        self._arrived = Latch()
        self._chats: OrderedDict[str, _Chat] = OrderedDict()
        self.failing: str | None = None
        self._began_s: float | None = None

    async def record(self, entry: Entry) -> None:
        """Return once the entry is durable. A cancelled caller does not take its entry back."""
        durable = Latch()
        self.submit(entry, durable.set)
        await durable.wait()

    def submit(self, entry: Entry, durable: Callable[[], None]) -> None:
        """Call `durable` once the entry is; it must not raise."""
        self._waiting.append((entry, durable))
        self._arrived.set()

    async def differences(self, observations: Sequence[Observation], as_of_s: float) -> list[Difference]:
        """What chats that were asked for at this time say other than the last values; stores nothing.

        Raises JournalError.
        """
        chat_ids = frozenset(one.chat_id for one in observations)
        if not self._is_alone:
            await self._refresh(chat_ids)
        while missing := self._unknown(chat_ids):
            await self._learn(missing)
        found = []
        for one in observations:
            chat = self._chats[one.chat_id]
            last = chat.values.get(one.key)
            change, _ = classify(last, one)
            if not _is_nothing_new(last, one, change):
                overtaken = chat.has_overtaken(one, as_of_s)
                found.append(Difference(observation=one, known=last is not None, overtaken=overtaken))
        return found

    async def run(self) -> None:
        """Commit groups until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._to_refresh:
                await self._learn_anew()
            group = self._next_group()
            self._began_s = self._monotonic_s()
            await self._commit([entry for entry, _ in group])
            self._began_s = None
            for number, (_, durable) in enumerate(group):
                if number and not number % _CALLED_AT_ONCE:
                    await asyncio.sleep(0)  # each may wake a session that goes on at once
                durable()

    async def _refresh(self, chat_ids: frozenset[str]) -> None:
        """Return once what others have written of these chats is known too; never beside a commit."""
        refreshed = Latch()
        self._to_refresh.append((chat_ids, refreshed))
        self._arrived.set()
        await refreshed.wait()

    async def _learn_anew(self) -> None:
        """For those that asked. Where the journal does not tell, they will find the chats unknown, and ask it."""
        asked, self._to_refresh = self._to_refresh, []
        known = self._chats.keys() & frozenset[str]().union(*(chat_ids for chat_ids, _ in asked))
        with suppress(JournalError):
            await self._relearn(sorted(known))
        for _, refreshed in asked:
            refreshed.set()

    def waiting_s(self) -> float:
        """For how long the group under way has been waiting for its commit; 0.0 without one."""
        return 0.0 if self._began_s is None else self._monotonic_s() - self._began_s

    def _next_group(self) -> list[tuple[Entry, Callable[[], None]]]:
        """The entries of the next commit, in the order of arrival: as many as the event loop can handle in one step."""
        size, count = 0, 0
        while count < len(self._waiting) and size < _LARGEST_GROUP:
            size += len(self._waiting[count][0].observations)
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        if self._waiting:
            self._arrived.set()
        return group

    async def _commit(self, entries: list[Entry]) -> None:
        """Classify and append one group, until the journal takes it."""
        while True:
            overlay: dict[str, Values] = {}
            batch = self._batch(entries, overlay)
            try:
                if batch != _NOTHING:
                    await self._journal.append(batch)
            except JournalStale as exc:
                await self._learn_stale(exc.chat_ids)
            except JournalError as exc:
                await self._wait_for_journal(exc)
            else:
                self._recorded(batch, overlay)
                return

    async def _wait_for_journal(self, exc: JournalError) -> None:
        if self.failing is None:
            log.error("journal_cannot_commit", error=str(exc), effect="nothing is acknowledged until then")
        self.failing = str(exc)
        self._metrics.count("journal_commit_failures_total")
        await asyncio.sleep(self._backoff.next())

    def _recorded(self, batch: JournalBatch, overlay: dict[str, Values]) -> None:
        if self.failing is not None:
            log.info("journal_commits_again")
            self.failing = None
        self._backoff.reset()
        for chat_id, values in overlay.items():
            chat = self._chats[chat_id]
            chat.values.update(values)
            chat.is_known = True
            self._chats.move_to_end(chat_id)
        while len(self._chats) > _KNOWN_CHATS:
            self._chats.popitem(last=False)
        self._metrics.set("journal_last_sequence", self._journal.last_sequence)
        self._count(batch.events)
        if self._on_record is not None and batch.events:
            self._on_record(batch.events)

    def _count(self, events: tuple[Event, ...]) -> None:
        left: Sequence[Event] = events
        while left:  # mostly they are all of one sort
            kind, change, origin = left[0].kind, left[0].change, left[0].origin
            others = [one for one in left if one.change is not change or one.origin is not origin]
            amount, left = len(left) - len(others), others
            # By their plain values: the hash of a member of an Enum is a function in Python.
            words = kind._value_, change._value_ if change is not None else "", origin._value_
            self._metrics.count("events_total", amount, *words)
            if origin is _RECONCILED:
                self._metrics.count("reconciled_total", amount)

    def _unknown(self, chat_ids: Iterable[str]) -> list[str]:
        chats = self._chats
        return [chat_id for chat_id in chat_ids if chat_id not in chats or not chats[chat_id].is_known]

    async def _learn(self, chat_ids: Collection[str]) -> None:
        """Fetch the last values of chats; one without any is known as such."""
        found: dict[str, Values] = {chat_id: {} for chat_id in chat_ids}
        for value in await self._journal.last_values(chat_ids):
            found[value.chat_id][value.key] = value
        for chat_id, values in found.items():
            chat = self._chats.setdefault(chat_id, _Chat())
            if not chat.is_known:  # or another task has learned it, and more, meanwhile
                chat.values, chat.is_known = values, True

    async def _learn_stale(self, chat_ids: Collection[str]) -> None:
        try:
            await self._relearn(chat_ids)
        except JournalError as exc:
            await self._wait_for_journal(exc)

    async def _relearn(self, chat_ids: Collection[str]) -> None:
        """What these were classified by does not hold: they were taken for new, or another replica has written since.

        That one's values hold from now on, so that no look at the chats which was asked for earlier overtakes them.
        Raises JournalError: then nothing is known of these chats.
        """
        forgotten = {chat_id: self._chats[chat_id].forget() for chat_id in chat_ids}
        await self._learn(chat_ids)
        now_s = self._monotonic_s()
        for chat_id, before in forgotten.items():
            if before is None:
                continue
            chat = self._chats[chat_id]
            for key, value in chat.values.items():
                if value != before.get(key):
                    chat.holds(key, now_s)

    def _batch(self, entries: list[Entry], overlay: dict[str, Values]) -> JournalBatch:
        events: list[Event] = []
        sessions: dict[str, SessionState] = {}
        for entry in entries:
            if entry.gap is not None:
                events.append(self._gap_event(entry.gap))
            self._add_dispositions(entry, overlay, events)
            if entry.session is not None:
                sessions[entry.account] = entry.session
        return JournalBatch(
            events=tuple(events),
            values=tuple([value for of_chat in overlay.values() for value in of_chat.values()]),
            sessions=tuple(sessions.values()),
            new_chats=tuple(self._unknown(overlay)),  # the first that is heard of a chat is always a new value
        )

    def _add_dispositions(self, entry: Entry, overlay: dict[str, Values], events: list[Event]) -> None:
        """Classify the observations of an entry, and add what is an event. On the hot path.

        An id is 40 hexadecimal digits: the digest of what was heard and by whom, and a mark of the key. So it is the
        same on all replicas, where the server stamps its notifications. Of what it does not stamp, and of what is alike
        within a batch, see `_placed_id`.
        """
        seen: set[str] = set()
        as_of_s, known = entry.as_of_s, self._chats
        for index, heard in enumerate(entry.observations):
            chat_id, key = heard.chat_id, heard.key
            chat = known.get(chat_id) or known.setdefault(chat_id, _Chat())
            fresh = overlay.get(chat_id)
            last = (fresh and fresh.get(key)) or chat.values.get(key)
            if heard.prime and last is not None and last.value != heard.value:
                continue
            is_read = heard.origin is _RECONCILED
            change, newest = classify(last, heard, overtaken=is_read and chat.has_overtaken(heard, as_of_s))
            if newest is not None:
                if fresh is None:
                    overlay[chat_id] = {key: newest}
                else:
                    fresh[key] = newest
            if newest is not None or (last is not None and last.value == heard.value):
                chat.holds(key, as_of_s)
            if heard.prime or (entry.prime and last is None) or (is_read and _is_nothing_new(last, heard, change)):
                continue
            event_id = heard.digest.hex() + _mark(key)
            if heard.server_time_ms is None or event_id in seen:
                event_id = _placed_id(heard, f"{entry.origin_id}:{index}")
            seen.add(event_id)
            previous = None if last is None else last.value
            events.append(self._disposition_event(heard, change, previous, event_id))

    def _disposition_event(self, heard: Observation, change: Change, previous: str | None, event_id: str) -> Event:
        received_at = self._received_at(heard.received_ms)
        identity = chat_id = heard.chat_id
        media_type, source = heard.media_type, self._source
        if media_type != CHAT:
            chat_id, source = plain_id(media_type, identity), self._sources.get(media_type, source)
        data = Disposition(
            change,
            heard.key,
            heard.value,
            previous,
            chat_id,
            heard.chat_state,
            heard.chat_uri,
            heard.reference_id,
            heard.account,
            heard.participants,
            heard.user_data,
            received_at,
            heard.origin,
            media_type,
            heard.agent,
        )
        return Event(
            event_id,
            self._disposition_type,
            source,
            identity,
            received_at if heard.server_time_ms is None else rfc3339(heard.server_time_ms),
            _DISPOSITION,
            heard.account,
            change,
            _ENCODER.encode(data),
            heard.origin,
            heard.received_ms,
        )

    def _gap_event(self, gap: Gap) -> Event:
        whose = gap.account if gap.agent is None else f"{gap.account}\0{gap.agent}"
        what = gap.reason if gap.media_type is None else f"{gap.reason}\0{gap.media_type}"
        digest = blake2b(f"{whose}\0{gap.from_}\0{gap.to}\0{what}".encode(), digest_size=16)
        return Event(
            id=digest.hexdigest(),
            type=self._gap_type,
            source=self._source,
            subject=gap.account,
            time=rfc3339(gap.ended_ms),
            kind=Kind.GAP,
            account=gap.account,
            change=None,
            origin=Origin.NOTIFICATION,
            received_ms=gap.ended_ms,
            data=_ENCODER.encode(gap),
        )


def classify(last: LastValue | None, heard: Observation, *, overtaken: bool = False) -> tuple[Change, LastValue | None]:
    """What `heard` did to the last value of its chat and key, and the new last value where there is one.

    In a conference every agent's session hears the same change, in any order between sessions. The second to hear it
    finds the value it brings: unchanged. An echo that is late, older by the server's own clock than what another
    account has brought, changes nothing either; nor does what was read of a chat and `overtaken` by what was heard.
    """
    value = heard.value
    if last is not None:
        is_of_another = last.account != heard.account
        if last.value == value or overtaken or (is_of_another and _is_older(heard, last)):
            return _UNCHANGED, None
    newest = LastValue(heard.chat_id, heard.key, value, heard.account, heard.server_time_ms, heard.received_ms)
    if value is None:
        return _CLEARED, newest
    return (_SET if last is None or last.value is None else _CHANGED), newest


def _is_older(heard: Observation, last: LastValue) -> bool:
    if last.server_time_ms is None or heard.server_time_ms is None:
        return False
    return heard.server_time_ms < last.server_time_ms


def _is_nothing_new(last: LastValue | None, heard: Observation, change: Change) -> bool:
    """Whether re-reading a chat has found what is known, or an empty value where none was ever heard of."""
    never_set = last is None and heard.value is None
    return heard.origin is _RECONCILED and (change is _UNCHANGED or never_set)


def _placed_id(heard: Observation, place: str) -> str:
    """The id of an event whose notification may be alike to another to the letter: its place in the session goes in."""
    return blake2b(heard.digest + place.encode(), digest_size=16).hexdigest() + _mark(heard.key)


def digest_of(event_id: str) -> bytes | None:
    """The digest of the notification behind an event's id, which that begins with; None for any other id."""
    try:
        return bytes.fromhex(event_id[:-_MARK_DIGITS]) if len(event_id) == _ID_DIGITS else None
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _mark(key: str) -> str:
    return f"{crc32(key.encode()):08x}"
