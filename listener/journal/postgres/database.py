"""`Database` on PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from asyncpg import Connection

from listener.errors import JournalError
from listener.journal.postgres import rows, schema
from listener.journal.postgres.ear import Ear
from listener.journal.postgres.lines import APPLICATION, TROUBLE, Lines
from listener.journal.postgres.options import PostgresOptions
from listener.model.event import (
    Change,
    DeadLetter,
    DeadLetterFilter,
    Event,
    JournalBatch,
    JournalStats,
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.filter import DeadLetterGroup, DeadLetterPage, EventFilter, Found
from listener.model.holes import all_holes, events_between
from listener.model.replica import Appended, Beaten, DutyReport, Grant, Joined, Offer, Order, ReplicaReport
from listener.runtime.postgres import PROFILE, Profile, code_of, described

RETENTION_STEP = 1000
"""Events (or chats) that one step of retention looks at."""

ROWS_A_LOOK = 20_000
DECODED_A_LOOK = 5_000
"""How many events one search goes through at most, and where their `data` has to be brought and decoded."""

_PAGE = 500
_GRANTS_A_BEAT = 1000
_READERS = 4
_ENCODING = "UTF8"
_ABOVE_ALL = 2**63 - 1
_NO_RIGHT = "42501"

_log = structlog.get_logger(__name__)


class PostgresDatabase:
    """A schema of a PostgreSQL database, over connections of its own.

    Appends have a connection, and beats: neither waits for anything else.

    Args:
        options: where it is.
    """

    def __init__(self, options: PostgresOptions) -> None:
        self._options = options
        self._statements = rows.statements(options.quoted_schema)
        self._lease_s = 1.0
        self._begin()

    def _begin(self) -> None:
        """Without a connection, and not joined: those of an earlier incarnation end with it."""
        self._incarnation: int | None = None
        self._ahead_ms: int | None = None  # the server's clock is, of this loop's, or more
        self._appends = Lines(self._options, size=1, name=self._name)
        self._beats = Lines(self._options, size=1, name=self._name)
        self._others = Lines(self._options, size=_READERS, name=self._name)
        self._ear = Ear(self._others, self._options, partial(self._value, "last_sequence"))

    def _name(self) -> str:
        return APPLICATION if self._incarnation is None else f"{APPLICATION}/{self._incarnation}"

    async def open(self) -> None:
        """See `Database`."""
        self._begin()
        profile = await self._visit(schema.prepare)
        self._report(profile)

    async def check(self) -> None:
        """See `Database`."""
        await self._visit(schema.check)

    async def _visit(self, prepare: Callable[[Connection, PostgresOptions], Awaitable[None]]) -> Profile:
        """Look at the server, and do this in the schema. Raises JournalError."""
        place = self._options.place
        try:
            async with asyncio.timeout(self._options.timeout_s):
                connection = await self._others.connect()
            try:
                profile = Profile(**await connection.fetchrow(PROFILE))
                if profile.standby:
                    raise JournalError(f"{place}: is a standby, which takes no writes")
                if profile.encoding != _ENCODING:
                    raise JournalError(f"{place}: the database has the encoding {profile.encoding}, not {_ENCODING}")
                await prepare(connection, self._options)
            finally:
                connection.terminate()
        except TROUBLE as exc:
            raise JournalError(f"{place}: {described(exc)}{self._advice(exc)}") from exc
        return profile

    def _report(self, profile: Profile) -> None:
        """One line on what the server does with an event before it acknowledges it."""
        log = _log.bind(
            place=self._options.place,
            version=profile.version,
            fsync=profile.fsync,
            synchronous_commit=profile.commits,
            synchronous_standby_names=profile.synchronous_standbys,
            standbys=profile.standbys,
        )
        if risks := list(profile.risks()):
            log.warning("journal_durability_weak", risks=risks, effect="an event that was confirmed can still be lost")
        else:
            log.info("journal_durability")

    def _advice(self, exc: Exception) -> str:
        if code_of(exc) != _NO_RIGHT:
            return ""
        user, database = self._options.username or "USER", self._options.database
        made = f'CREATE SCHEMA {self._options.quoted_schema} AUTHORIZATION "{user}"'
        return f'; it needs a schema of its own: {made}, or GRANT CREATE ON DATABASE "{database}" TO "{user}"'

    async def close(self) -> None:
        """See `Database`."""
        await self._ear.close()
        for lines in (self._appends, self._beats, self._others):
            await lines.close()

    def _loop_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    async def _ask(self, name: str, *values: Any) -> list[Any]:
        return await self._others.fetch(self._statements[name], *values)

    async def _value(self, name: str, *values: Any) -> Any:
        return (await self._ask(name, *values))[0][0]

    # --- replicas ---------------------------------------------------------------------------------------------------

    async def join(self, name: str, *, version: str, lease_s: float) -> Joined:
        """See `Database`."""
        statement = self._statements["join"]
        (row,) = await self._others.fetch(statement, rows.escaped(name), version, schema.VERSION, lease_s)
        self._incarnation, self._lease_s = row["incarnation"], lease_s
        for lines in (self._appends, self._beats, self._others):
            await lines.renew()
        return Joined(incarnation=row["incarnation"], last_sequence=row["last_sequence"])

    async def offer(self, me: int, offers: Collection[Offer]) -> None:
        """See `Database`."""
        given = list({one.duty: one for one in offers}.values())
        names = rows.texts([one.duty for one in given])
        only = [None if one.only is None else rows.escaped(one.only) for one in given]
        await self._ask("offer", me, names, [name.partition("/")[0] for name in names], only)

    async def beat(
        self,
        me: int,
        *,
        seen: int,
        taken: Collection[int] = (),
        report: bytes | None = None,
        reports: Mapping[str, bytes] | None = None,
    ) -> Beaten:
        """See `Database`."""
        told = reports or {}
        (row,) = await self._beats.fetch(
            self._statements["beat"],
            me,
            seen,
            list(taken),
            report,
            rows.texts(told),
            list(told.values()),
            timeout_s=min(max(self._lease_s, 1.0), self._options.timeout_s),
        )
        self._ahead_ms = row["clock_ms"] - self._loop_ms() - 1
        granted = [Grant(rows.unescaped(n), e) for n, e in zip(row["duties"], row["epochs"], strict=True)]
        orders = zip(row["order_numbers"], row["order_duties"], row["order_whats"], strict=True)
        return Beaten(
            granted=tuple(granted[:_GRANTS_A_BEAT]),
            more=len(granted) > _GRANTS_A_BEAT,
            wanted_back=tuple(map(rows.unescaped, row["wanted_back"])),
            orders=tuple(Order(number=n, duty=rows.unescaped(duty), what=what) for n, duty, what in orders),
            last_sequence=row["last_sequence"],
            draining=row["draining"],
            others=row["others"],
        )

    async def release(self, me: int, duties: Collection[Grant]) -> None:
        """See `Database`."""
        names = rows.texts([grant.duty for grant in duties])
        await self._ask("release", me, names, [grant.epoch for grant in duties])

    async def leave(self, me: int) -> None:
        """See `Database`."""
        await self._ask("leave", me)

    async def replicas(self) -> list[ReplicaReport]:
        """See `Database`."""
        return [
            ReplicaReport(**{**row, "name": rows.unescaped(row["name"])})
            for row in map(dict, await self._ask("replicas"))
        ]

    async def duties(self) -> list[DutyReport]:
        """See `Database`."""
        return [
            DutyReport(
                duty=rows.unescaped(row["duty"]),
                replica=None if row["replica"] is None else rows.unescaped(row["replica"]),
                epoch=row["epoch"],
                report=row["report"],
            )
            for row in await self._ask("duties")
        ]

    async def drain(self, name: str, *, draining: bool) -> bool:
        """See `Database`."""
        return bool(await self._value("drain", rows.escaped(name), draining))

    async def order(self, duty: str, what: str) -> str | None:
        """See `Database`."""
        name = await self._value("order", rows.escaped(duty), what)
        return None if name is None else rows.unescaped(name)

    # --- the journal ------------------------------------------------------------------------------------------------

    async def append(
        self,
        me: int,
        number: int,
        batch: JournalBatch,
        revisions: Mapping[str, int],
        seen_ages_ms: Mapping[str, int],
    ) -> Appended:
        """See `Database`."""
        parameters = rows.batch_parameters(batch, revisions, seen_ages_ms)
        now_ms = None if self._ahead_ms is None else self._loop_ms() + self._ahead_ms
        (row,) = await self._appends.fetch(self._statements["append"], me, number, *parameters, now_ms)
        return Appended(
            last_sequence=row["through"],
            revision=row["newest"],
            stale=tuple(map(rows.unescaped, row["stale"])),
        )

    async def begin_above(self, me: int, known: int, top: int, stretch: tuple[int, int]) -> int:
        """See `Database`."""
        last: int = await self._value("begin_above", me, known, top, *stretch)
        return last

    async def losses(self) -> dict[int, tuple[int, int]]:
        """See `Database`."""
        return {top: (from_ms, to_ms) for top, from_ms, to_ms in await self._ask("losses")}

    async def settle_losses(self, me: int, tops: Collection[int]) -> None:
        """See `Database`."""
        await self._ask("settle_losses", me, list(tops))

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """See `Database`. In pages, so that the event loop never decodes for long."""
        found: list[Event] = []
        while (page := min(limit - len(found), _PAGE)) > 0:
            brought = await self._ask("read", found[-1].sequence if found else after, page)
            found += map(rows.event_of, brought)
            if len(brought) < page:
                break
        return found

    async def search(self, which: EventFilter, *, before: int | None, limit: int) -> Found:
        """See `Database`."""
        top = _ABOVE_ALL if before is None else before
        within = which.within()
        floor = await self._value("floor", top, ROWS_A_LOOK if within is None else DECODED_A_LOOK)
        if floor is None:
            return Found(events=(), before=None, through_ms=None)
        meant = await self._meant(which, floor, top, limit)
        found = await self._ask("found", meant)
        events = tuple(map(rows.event_of, found))
        through = meant[-1] if len(meant) == limit else floor
        edge = await self._ask("edge", through)
        if not edge:  # retention was faster
            return Found(events=events, before=None, through_ms=events[-1].received_ms if events else None)
        return Found(events=events, before=through if edge[0]["more"] else None, through_ms=edge[0]["received_ms"])

    async def _meant(self, which: EventFilter, floor: int, top: int, limit: int) -> list[int]:
        """Sequences of the newest events from `floor` to below `top` that are meant, at most `limit`; newest first."""
        conditions, values = ["TRUE"], []
        if which.of_dispositions:
            conditions.append("kind = 'disposition'")
        if which.chat is not None:
            values.append(rows.escaped(which.chat))
            conditions.append(f"subject = ${len(values) + 3}")
        if which.change is not None:
            values.append(Change(which.change).value)
            conditions.append(f"change = ${len(values) + 3}")
        within = which.within()
        name = "columns" if within is None else "deciding"
        statement = self._statements[name].replace(":meant", " AND ".join(conditions))
        found: list[int] = []
        while len(found) < limit:
            page = limit if within is None else _PAGE
            brought = await self._others.fetch(statement, floor, top, page, *values)
            found += [
                row["sequence"]
                for row in brought
                if within is None or within(rows.unescaped(row["account"]), row["data"])
            ]
            if len(brought) < page:
                break
            top = brought[-1]["sequence"]
        return found[:limit]

    async def last_values(self, chat_ids: Collection[str]) -> tuple[list[LastValue], dict[str, int]]:
        """See `Database`."""
        found = await self._ask("last_values", rows.texts(dict.fromkeys(chat_ids)))
        values = [rows.value_of(row) for row in found]
        revisions: dict[str, int] = {}
        for value, row in zip(values, found, strict=True):
            revisions[value.chat_id] = max(revisions.get(value.chat_id, 0), row["revision"])
        return values, revisions

    async def sessions(self, accounts: Collection[str] | None = None) -> list[tuple[SessionState, int]]:
        """See `Database`."""
        wanted = None if accounts is None else rows.texts(accounts)
        return [rows.session_of(row) for row in await self._ask("sessions", wanted)]

    async def cursors(self) -> dict[str, int]:
        """See `Database`."""
        return {rows.unescaped(sink): sequence for sink, sequence in await self._ask("cursors")}

    async def advance(self, me: int, sink: str, sequence: int, dead: Sequence[DeadLetter]) -> None:
        """See `Database`."""
        await self._ask("advance", me, rows.escaped(sink), sequence, *rows.letter_parameters(dead))

    async def dead_letters(self, which: DeadLetterFilter) -> list[DeadLetter]:
        """See `Database`."""
        return [rows.letter_of(row) for row in await self._letters("letters", which)]

    async def _letters(self, name: str, which: DeadLetterFilter) -> list[Any]:
        statement, values = _meaning(self._statements[name], which)
        return await self._others.fetch(statement, *values)

    async def dead_letter_page(self, *, after: int, limit: int, sink: str | None) -> DeadLetterPage:
        """See `Database`."""
        meant = "sequence > $2" if sink is None else "sequence > $2 AND sink = $3"
        of_the_sink = () if sink is None else (rows.escaped(sink),)
        ((last,),) = await self._others.fetch(
            self._statements["last_of_page"].replace(":meant", meant), limit, after, *of_the_sink
        )
        if last is None:
            return DeadLetterPage(letters=(), more=False)
        up_to = f"{meant} AND sequence <= $1"
        page = await self._others.fetch(self._statements["page"].replace(":meant", up_to), last, after, *of_the_sink)
        beyond = meant.replace("$2", "$1").replace("$3", "$2")
        statement = self._statements["any_letter"].replace(":meant", beyond)
        ((more,),) = await self._others.fetch(statement, last, *of_the_sink)
        return DeadLetterPage(letters=tuple(map(rows.undelivered_of, page)), more=more)

    async def dead_letter_groups(self, which: DeadLetterFilter) -> list[DeadLetterGroup]:
        """See `Database`."""
        return [rows.letter_group_of(row) for row in await self._letters("letter_groups", which)]

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """See `Database`."""
        return int((await self._letters("mark_letters", which))[0][0])

    async def drop_dead_letters(self, which: DeadLetterFilter) -> int:
        """See `Database`."""
        return int((await self._letters("drop_letters", which))[0][0])

    async def replays(self, sink: str, limit: int) -> list[Event]:
        """See `Database`."""
        return [rows.event_of(row) for row in await self._ask("replays", rows.escaped(sink), limit)]

    async def settle_replays(self, me: int, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter]) -> None:
        """See `Database`."""
        _, sequences, _, reasons, attempts, at_mss, answers, _ = rows.letter_parameters(dead)
        parameters = (sequences, reasons, attempts, at_mss, answers)
        await self._ask("settle_replays", me, rows.escaped(sink), list(delivered), *parameters)

    async def lane_states(self) -> dict[str, LaneState]:
        """See `Database`."""
        states = [rows.lane_state_of(row) for row in await self._ask("lane_states")]
        return {state.sink: state for state in states}

    async def store_lane_state(self, me: int | None, state: LaneState) -> None:
        """See `Database`."""
        await self._ask("store_lane_state", me, rows.escaped(state.sink), rows.lane_state_text(state))

    async def retain(self, me: int, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None) -> int:
        """See `Database`. Each step is a transaction."""
        kept = rows.texts(keep_for)
        deleted = await self._retain_events(me, before_ms, None, kept)
        if max_bytes is not None and await self._value("event_bytes") > max_bytes:
            deleted += await self._retain_events(me, None, max_bytes * 9 // 10, kept)
        chat: str | None = "" if before_ms > 0 else None
        while chat is not None:
            chat = await self._value("retain_values", me, before_ms, chat, RETENTION_STEP)
        return deleted

    async def _retain_events(self, me: int, before_ms: int | None, beyond: int | None, kept: list[str]) -> int:
        deleted = 0
        while step := await self._value("retain_events", me, before_ms, beyond, kept, RETENTION_STEP):
            deleted += step
        return deleted

    async def stats(self) -> JournalStats:
        """See `Database`. What is not in a hole is there: the ends tell how many there are."""
        (found,) = await self._ask("figures")
        first, last = found["first_sequence"], found["last_sequence"]
        holes = all_holes(first, last, [(start, end) for start, end in found["holes"]])
        return JournalStats(
            first_sequence=first or 0,
            last_sequence=last,
            events=events_between(0, last, holes),
            bytes=found["bytes"],
            cursors=await self.cursors(),
            dead_letters={rows.unescaped(sink): letters for sink, letters in await self._ask("letter_counts")},
            oldest_ms=found["oldest_ms"],
            lanes=await self.lane_states(),
            holes=holes,
        )

    async def heard(self, sequence: int) -> int:
        """See `Database`."""
        return await self._ear.heard(sequence)


def _meaning(statement: str, which: DeadLetterFilter) -> tuple[str, list[Any]]:
    """A statement with the conditions for the letters that are meant, and its parameters.

    Only what is asked for, so that there is an index for it.
    """
    given: list[tuple[str, Any]] = []
    if which.event_ids:
        given.append(("event_id = ANY ({}::text[])", rows.texts(which.event_ids)))
    if which.sink is not None:
        given.append(("sink = {}", rows.escaped(which.sink)))
    if which.since_ms is not None:
        given.append(("at_ms >= {}", which.since_ms))
    if which.until_ms is not None:
        given.append(("at_ms <= {}", which.until_ms))
    if which.after:
        given.append(("sequence > {}", which.after))
    conditions = [condition.format(f"${n}") for n, (condition, _) in enumerate(given, start=1)]
    return statement.replace(":meant", " AND ".join(conditions) or "TRUE"), [value for _, value in given]
