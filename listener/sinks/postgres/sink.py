"""Delivery to a table of PostgreSQL, and what must be known of the server for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from importlib.resources import files

from asyncpg import PostgresError
from asyncpg.exceptions import DuplicateTableError, UniqueViolationError

from listener.errors import Outcome, Park, Refusal, Reject, Retry
from listener.model.event import Event
from listener.sinks.durability import report
from listener.sinks.postgres.answers import TROUBLE, is_of_a_row, outcome_of, refusal_of
from listener.sinks.postgres.profile import Profile
from listener.sinks.postgres.rows import Row, row_of
from listener.sinks.postgres.session import Session, connect
from listener.sinks.postgres.settings import PostgresSettings
from listener.sinks.registry import SinkContext

_TABLE = files(__package__).joinpath("table.sql")
_ENCODING = "UTF8"


class PostgresSink:
    """Stores each batch with one transaction, which leaves out what it finds there already.

    A connection is made when one is needed and given up after any trouble. Can be opened again after `close`.

    Args:
        context: the sink's surroundings.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: PostgresSettings) -> None:
        self._context = context
        self._settings = settings
        self._place = f"{context.setting('url')} {settings.url}"
        self._lock = asyncio.Lock()
        self._deadline: asyncio.Timeout | None = None
        self._session: Session | None = None
        self._profile: Profile | None = None

    async def open(self) -> None:
        """See `ports.Sink`."""
        await self.close()
        async with self._exchange():
            await self._connected()

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. A batch is stored whole, or up to an event that is refused and the others by themselves."""
        rows = [row_of(event, self._context.form) for event in events]
        async with self._exchange():
            session, profile = await self._connected()
            refused = await self._store(session, profile, list(enumerate(rows)))
        if refused:
            first = min(refused)
            delivered = frozenset(range(len(events))) - refused.keys()
            reason, answer = refused[first]
            raise Reject(first, reason, rejected=refused, delivered=delivered, detail=answer)

    async def check(self) -> None:
        """See `ports.Sink`: over a connection of its own. A table that is to be made is not made yet."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                session = await connect(self._context, self._settings)
                try:
                    profile = self._usable(await session.profile())
                    if profile.persistence is not None or not self._settings.create_table:
                        await self._probe(session, profile)
                finally:
                    session.abort()
        except TROUBLE as error:
            raise self._outcome(error) from error

    async def close(self) -> None:
        """See `ports.Sink`. A delivery that is under way ends at once."""
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())
        async with self._lock:
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    @contextlib.asynccontextmanager
    async def _exchange(self) -> AsyncIterator[None]:
        """One at a time, within `timeout_s`; trouble becomes an outcome and costs the connection."""
        async with self._lock:
            try:
                async with asyncio.timeout(self._settings.timeout_s) as self._deadline:
                    yield
            except BaseException as error:
                session, self._session = self._session, None
                if session is not None:
                    session.abort()
                if isinstance(error, TROUBLE):
                    raise self._outcome(error) from error
                raise
            finally:
                self._deadline = None

    def _outcome(self, error: Exception) -> Outcome:
        if isinstance(error, TimeoutError):  # an OSError
            return Retry(f"{self._place}: no answer within {self._settings.timeout_s} s, or closed meanwhile")
        return outcome_of(self._place, error)

    async def _connected(self) -> tuple[Session, Profile]:
        if self._session is None or self._profile is None:
            self._session = session = await connect(self._context, self._settings)
            profile = self._usable(await session.profile())
            if profile.persistence is None and self._settings.create_table:
                profile = await self._with_table(session)
            await self._probe(session, profile)
            if profile != self._profile:
                self._report(profile)
            self._profile = profile
        return self._session, self._profile

    def _usable(self, profile: Profile) -> Profile:
        if profile.standby:
            raise Retry(f"{self._place}: is a standby, which takes no writes")
        if profile.read_only:
            raise Retry(f"{self._place}: is read-only at the moment (default_transaction_read_only)")
        if profile.encoding != _ENCODING:
            raise Park(f"{self._place}: the database has the encoding {profile.encoding}, it must be {_ENCODING}")
        return profile

    async def _with_table(self, session: Session) -> Profile:
        statements = _TABLE.read_text(encoding="utf-8").replace('"dispositions"', self._settings.quoted_table)
        with contextlib.suppress(DuplicateTableError, UniqueViolationError):  # somebody else was faster
            await session.create(statements)
        return await session.profile()

    async def _probe(self, session: Session, profile: Profile) -> None:
        if profile.persistence is None:
            place = self._context.setting("table")
            text = f"there is no {self._settings.table}: make it by {_TABLE}, or set create_table = true"
            raise Park(f"{place}: {text}")
        await session.probe()

    async def _store(self, session: Session, profile: Profile, rows: Sequence[tuple[int, Row]]) -> dict[int, Refusal]:
        """Store rows, which come with their indexes; returns those that are refused, found by halving."""
        try:
            await session.store([row for _, row in rows], profile)
        except PostgresError as error:
            if not is_of_a_row(error):
                raise
            if len(rows) == 1:
                return {rows[0][0]: refusal_of(self._place, error)}
        else:
            return {}
        half = len(rows) // 2
        refused = await self._store(session, profile, rows[:half])
        return refused | await self._store(session, profile, rows[half:])

    def _report(self, profile: Profile) -> None:
        report(
            self._context,
            destination=f"{self._settings.url}, table {self._settings.table}",
            risks=tuple(profile.risks()),
            version=profile.version,
            fsync=profile.fsync,
            synchronous_commit="on" if profile.commits_late else profile.synchronous_commit,
            synchronous_standby_names=profile.synchronous_standbys,
            standbys=profile.standbys,
        )
