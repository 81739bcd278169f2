"""Picks from lines what is asked for, before anybody knows what stands for them: rows in columns, on disk until then.

Each line is decoded once, while it is verified. What is proven, and where gaps are, is known only behind the last one.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import cycle
from tempfile import SpooledTemporaryFile, gettempdir

import msgspec

from listener.audit.events import Event, GapData, Said, Told, epoch_ms, event_of, minutes_of
from listener.audit.groups import Groups
from listener.audit.periods import QUARTER_MS
from listener.errors import ListenerError
from listener.model.event import Change, Kind
from listener.model.media import CHAT

_Columns = tuple[list[Said], Sequence[int], list[str], list[tuple[str, ...]]]
"""Of the same lines: what they say, their numbers, their chats and who is in them (both empty where nobody asks)."""

_AGENT = "Agent"
_UNCHANGED = Change.UNCHANGED.value
_CHATS_KNOWN = 100_000
_IN_MEMORY = 4 * 1024 * 1024
_SIZE = struct.Struct("<I")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: rows that every given condition holds for.

    The period is in epoch milliseconds of an event's `time`, its end excluded. `agent` is a nickname, or whose chat a
    supervisor heard of; `code` is a pattern with `*`, `?` and `[…]`, for which a cleared disposition is an empty text.
    With `unchanged` events count that only repeat the known value.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    chat: str | None = None
    agent: str | None = None
    account: str | None = None
    code: str | None = None
    key: str | None = None
    unchanged: bool = False


class Picked(msgspec.Struct, frozen=True, array_like=True, tag="dispositions", gc=False):
    """Dispositions of one file: in which line each stands, and their columns; times are of UTC, as they are written.

    Where rows are only counted, the columns behind the accounts are empty.
    """

    file: int
    lines: list[int]
    times: list[str]
    accounts: list[str]
    chat_ids: list[str] = []
    agents: list[tuple[str, ...]] = []
    keys: list[str] = []
    previous: list[str | None] = []
    dispositions: list[str | None] = []
    changes: list[str] = []
    origins: list[str] = []
    reference_ids: list[int | None] = []
    sequences: list[str] = []
    ids: list[str] = []
    whose: list[str | None] = []


class PickedGap(msgspec.Struct, frozen=True, array_like=True, tag="gap", gc=False):
    """A gap, and in which line of which file it stands."""

    file: int
    line: int
    time_ms: int
    sequence: str
    id: str
    data: GapData


class Fault(msgspec.Struct, frozen=True, array_like=True, tag="fault", gc=False):
    """The lines from `first` to `last` of a file that cannot be read, and why the first one cannot."""

    file: int
    first: int
    last: int
    why: str


Item = Picked | PickedGap | Fault


class Kept:
    """Items, kept on disk where they are many, in a file without a name."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - it lives until `close`
        self._encoder, self._decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(Item)

    def add(self, item: Item) -> None:
        """One more. Raises ListenerError: the disk is full."""
        data = self._encoder.encode(item)
        try:
            self._file.write(_SIZE.pack(len(data)) + data)
        except OSError as exc:
            text = f"rows cannot wait in {gettempdir()}: {exc.strerror} (TMPDIR names another folder)"
            raise ListenerError(text) from exc

    def __iter__(self) -> Iterator[Item]:
        self._file.seek(0)
        while size := self._file.read(_SIZE.size):
            yield self._decoder.decode(self._file.read(*_SIZE.unpack(size)))

    def close(self) -> None:
        """Let them go. Idempotent."""
        self._file.close()


class Picker:
    """Takes the lines of files, the oldest file first.

    Memory is for the ids of all that is asked for, some 150 bytes each, and for the agents of the last 100,000 chats.

    Args:
        wanted: the question.
        most_rows: so many rows are kept with all that a row tells; of the others it only counts how many there are.
        groups: count every row.

    Attributes:
        names: of the files that were taken.
        kept: what was picked.
        count: lines and events of various kinds, by a word for each.
        tally: rows by the quarter of an hour, key, code, change and origin.
        others: events of unknown types, by type.
        times: the first and the last one of a row; empty where there is none.
    """

    def __init__(self, wanted: Wanted, *, most_rows: int | None = None, groups: Groups | None = None) -> None:
        self.groups = groups
        self._wanted = wanted
        self._most_rows = most_rows
        self._every = wanted == Wanted(unchanged=wanted.unchanged)
        self._seen: set[str] = set()
        self._agents: dict[str, tuple[str, ...]] = {}
        self._earlier_agents: dict[str, tuple[str, ...]] = {}
        self._hearsay: dict[str, tuple[str, ...]] = {}  # agents, as lines say that are not signed
        self._is_hearsay = False
        self._elsewhere: frozenset[str] = frozenset()
        self._fault: Fault | None = None
        self.names: list[str] = []
        self.kept = Kept()
        self.count: Counter[str] = Counter()
        self.tally: Counter[tuple[int, str, str | None, str, str]] = Counter()
        self.others: Counter[str] = Counter()
        self.times: tuple[str, str] | tuple[()] = ()

    def anew(self) -> "Picker":
        """One for the same question that has taken nothing."""
        groups = None if self.groups is None else self.groups.anew()
        return Picker(self._wanted, most_rows=self._most_rows, groups=groups)

    def begin(self, name: str) -> None:
        """The lines of this file follow."""
        self._end_fault()
        self.names.append(name)

    def take(self, number: int, lines: Sequence[bytes], told: Told, doubtful: frozenset[str] | None = None) -> None:
        """Lines behind the one with this number, and what they tell.

        Of lines that are not signed among signed ones, `doubtful` are the events, by id, that stand in those as well:
        only there they count. Nor does such a line say who was in the chat of a signed one.
        """
        self._elsewhere = doubtful or frozenset()
        self._is_hearsay = doubtful is not None
        for start, said in told.parts():
            if said:
                self._pick(number + start + 1, said)
            else:
                self._take_other(number + start + 1, lines[start])
        self.count["lines"] += len(lines)

    def cannot(self, line: int, why: str) -> None:
        """This line cannot be read, and if it is the last one, none behind it."""
        file, fault = len(self.names) - 1, self._fault
        self.count["unreadable"] += 1
        if fault is not None and (fault.file, fault.last + 1) == (file, line):
            self._fault = msgspec.structs.replace(fault, last=line)
        else:
            self._end_fault()
            self._fault = Fault(file, line, line, why)

    def end(self) -> None:
        """There are no more files."""
        self._end_fault()

    def _end_fault(self) -> None:
        if self._fault is not None:
            self.kept.add(self._fault)
        self._fault = None

    def _take_other(self, number: int, line: bytes) -> None:
        """A gap, a test, a disposition in a form of its own, or nothing of ours."""
        try:
            event = event_of(line)
        except ValueError as exc:
            if line.strip():
                self.cannot(number, f"not an event of the file sink ({exc})")
            return
        data = event.data
        if isinstance(data, GapData):
            self._pick_gap(number, event, data)
        elif data is not None:
            said = Said(event.type, event.time, event.id, data, event.subject, event.sequence)
            self._pick(number, [said])
        elif self._is_in_period(event.time_ms) and self._new([event.id]):
            if event.kind == Kind.TEST:
                self.count["tests"] += 1
            else:
                self.others[event.type] += 1

    def _pick_gap(self, number: int, event: Event, gap: GapData) -> None:
        wanted, (start_ms, end_ms) = self._wanted, gap.stretch
        ends_before = wanted.from_ms is not None and end_ms < wanted.from_ms
        begins_behind = wanted.to_ms is not None and start_ms >= wanted.to_ms
        if wanted.account not in (None, gap.account) or ends_before or begins_behind or not self._new([event.id]):
            return
        self.kept.add(PickedGap(len(self.names) - 1, number, event.time_ms, event.sequence, event.id, gap))

    def _pick(self, first: int, said: list[Said]) -> None:
        """Dispositions in lines from `first` on: those that are asked for, and that are new."""
        wanted, lines = self._wanted, range(first, first + len(said))
        full = self._most_rows is None or self.count["rows"] < self._most_rows
        named = full or wanted.agent is not None or self.groups is not None
        chats = list(map(_chat_of, said)) if named or wanted.chat is not None else []
        agents = self._agents_in(said, chats) if named else []
        columns: _Columns = (said, lines, chats, agents)
        if not self._every:
            columns = _at(columns, self._chosen(*columns))
        columns = _at(columns, self._new([one.id for one in columns[0]]))
        if not wanted.unchanged:
            changed = [at for at, one in enumerate(columns[0]) if one.data.change != _UNCHANGED]
            self.count["left out"] += len(columns[0]) - len(changed)
            columns = _at(columns, changed)
        if columns[0]:
            self._keep(*columns, full=full)

    def _keep(
        self, said: list[Said], lines: Sequence[int], chats: list[str], agents: list[tuple[str, ...]], *, full: bool
    ) -> None:
        """Rows; where they are not kept in full, it only matters how many there are."""
        data, times = [one.data for one in said], [one.time for one in said]
        keys, dispositions = [one.key for one in data], [one.disposition for one in data]
        changes, origins = [one.change for one in data], [one.origin for one in data]
        first, last = min(times), max(times)
        quarters = [minute_ms // QUARTER_MS for minute_ms in minutes_of([first, last])]
        if quarters[0] != quarters[1]:
            quarters = [minute_ms // QUARTER_MS for minute_ms in minutes_of(times)]
        self.count["rows"] += len(said)
        self.tally.update(zip(cycle(quarters), keys, dispositions, changes, origins, strict=False))
        self.times = min([*self.times, first, last]), max([*self.times, first, last])
        if self.groups is not None:
            self.groups.add(times, chats, agents, keys, dispositions, changes)
        file, accounts = len(self.names) - 1, [one.account for one in data]
        if not full:
            self.kept.add(Picked(file, list(lines), times, accounts))
            return
        self.kept.add(
            Picked(
                file,
                list(lines),
                times,
                accounts,
                chats,
                agents,
                keys,
                [one.previous for one in data],
                dispositions,
                changes,
                origins,
                [one.reference_id for one in data],
                [one.sequence for one in said],
                [one.id for one in said],
                [one.agent for one in data],
            )
        )

    def _chosen(
        self, said: list[Said], _lines: Sequence[int], chats: list[str], agents: list[tuple[str, ...]]
    ) -> Sequence[int]:
        """The indexes of those for which every condition holds."""
        wanted = self._wanted
        chosen = self._within([one.time for one in said])
        if wanted.chat is not None:
            chosen = [at for at in chosen if chats[at] == wanted.chat]
        if wanted.account is not None:
            chosen = [at for at in chosen if said[at].data.account == wanted.account]
        if wanted.key is not None:
            chosen = [at for at in chosen if said[at].data.key == wanted.key]
        if wanted.agent is not None:
            chosen = [at for at in chosen if wanted.agent in agents[at] or wanted.agent == said[at].data.agent]
        if wanted.code is not None:
            chosen = [at for at in chosen if fnmatchcase(said[at].data.disposition or "", wanted.code)]
        return chosen

    def _new(self, ids: list[str]) -> Sequence[int]:
        """The indexes of those that have not come before."""
        seen = self._seen
        if seen.isdisjoint(ids) and self._elsewhere.isdisjoint(ids):
            before = len(seen)
            seen.update(ids)
            if len(seen) == before + len(ids):
                return range(len(ids))
            seen.difference_update(ids)
        new = []
        for at, id_ in enumerate(ids):
            if id_ not in seen and id_ not in self._elsewhere:
                seen.add(id_)
                new.append(at)
        self.count["repeated"] += len(ids) - len(new)
        return new

    def _within(self, times: list[str]) -> Sequence[int]:
        """The indexes of those that lie in the period."""
        if self._is_in_period(epoch_ms(min(times))) and self._is_in_period(epoch_ms(max(times))):
            return range(len(times))
        return [at for at, time in enumerate(times) if self._is_in_period(epoch_ms(time))]

    def _is_in_period(self, time_ms: int) -> bool:
        wanted = self._wanted
        too_early = wanted.from_ms is not None and time_ms < wanted.from_ms
        return not (too_early or (wanted.to_ms is not None and time_ms >= wanted.to_ms))

    def _agents_in(self, said: list[Said], chats: list[str]) -> list[tuple[str, ...]]:
        """Who is in each chat. Its last notification comes when all have left: then those who were in it."""
        if len(self._agents) >= _CHATS_KNOWN:
            self._agents, self._earlier_agents = {}, self._agents
        if len(self._hearsay) >= _CHATS_KNOWN:
            self._hearsay.clear()
        known = self._hearsay if self._is_hearsay else self._agents
        agents = [
            tuple([who.nickname for who in one.data.participants if who.type == _AGENT and who.nickname is not None])
            for one in said
        ]
        if all(agents):
            known.update(zip(chats, agents, strict=True))
            return agents
        for at, chat in enumerate(chats):
            before = known.get(chat) or self._agents.get(chat) or self._earlier_agents.get(chat, ())
            agents[at] = agents[at] or before
            if agents[at]:
                known[chat] = agents[at]
        return agents


def _chat_of(said: Said) -> str:
    data = said.data
    return data.chat_id if data.chat_id and data.media_type == CHAT else said.subject


def _at(columns: _Columns, indexes: Sequence[int]) -> _Columns:
    """What stands at these indexes, which rise; of an empty column nothing."""
    said, lines, chats, agents = columns
    if len(indexes) == len(said):
        return columns
    return (
        [said[at] for at in indexes],
        [lines[at] for at in indexes],
        [chats[at] for at in indexes] if chats else chats,
        [agents[at] for at in indexes] if agents else agents,
    )
