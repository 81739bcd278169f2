"""Delivery to a table of PostgreSQL, and what must be known of the server for it."""

import contextlib
from collections.abc import Sequence
from importlib.resources import files

from asyncpg import PostgresError
from asyncpg.exceptions import DuplicateObjectError, DuplicateTableError, UniqueViolationError

from listener.errors import Park, Retry
from listener.model.event import Event
from listener.sinks.durability import report_durability
from listener.sinks.postgres.session import (
    TROUBLE,
    Profile,
    Row,
    Session,
    connect,
    is_of_a_row,
    outcome_of,
    refusal_of,
    row_of,
)
from listener.sinks.postgres.settings import PostgresSettings
from listener.sinks.registry import SinkContext
from listener.sinks.session import ExclusiveSession
from listener.sinks.verdict import Verdict

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
        self._session = ExclusiveSession(
            self._connect,
            place=self._place,
            failures=TROUBLE,
            outcome_of=outcome_of,
            timeout_s=settings.timeout_s,
        )
        self._profile: Profile | None = None

    async def open(self) -> None:
        """See `ports.Sink`."""
        await self._session.open()

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. A batch is stored whole, or up to an event that is refused and the others by themselves."""
        rows = [row_of(event, self._context.form) for event in events]
        verdict = Verdict()
        async with self._session.exchange() as session:
            await self._store(session, list(enumerate(rows)), verdict)
        verdict.raise_outcome()

    async def check(self) -> None:
        """See `ports.Sink`: over a connection of its own. A table that is to be made is not made yet."""
        async with self._session.limited():
            session = await connect(self._context, self._settings)
            try:
                self._check_usable(session.profile)
                if session.profile.persistence is not None or not self._settings.create_table:
                    await self._probe(session)
            finally:
                await session.abort()

    async def close(self) -> None:
        """See `ports.Sink`. A delivery that is under way ends at once."""
        await self._session.close()

    async def _connect(self) -> Session:
        """A session over which rows can be stored; what the server is is logged where it is not as it was."""
        session = await connect(self._context, self._settings)
        try:
            self._check_usable(session.profile)
            if session.profile.persistence is None and self._settings.create_table:
                await self._make_table(session)
            await self._probe(session)
        except BaseException:
            await session.abort()
            raise
        if session.profile != self._profile:
            self._profile = session.profile
            self._report(session.profile)
        return session

    def _check_usable(self, profile: Profile) -> None:
        if profile.standby:
            raise Retry(f"{self._place}: is a standby, which takes no writes")
        if profile.read_only:
            raise Retry(f"{self._place}: is read-only at the moment (default_transaction_read_only)")
        if profile.encoding != _ENCODING:
            raise Park(f"{self._place}: the database has the encoding {profile.encoding}, it must be {_ENCODING}")

    async def _make_table(self, session: Session) -> None:
        statements = _TABLE.read_text(encoding="utf-8").replace('"dispositions"', self._settings.quoted_table)
        with contextlib.suppress(
            DuplicateTableError, DuplicateObjectError, UniqueViolationError
        ):  # somebody else was faster
            await session.create(statements)
        await session.ask_profile()

    async def _probe(self, session: Session) -> None:
        if session.profile.persistence is None:
            place = self._context.setting("table")
            text = f"there is no {self._settings.table}: make it by {_TABLE}, or set create_table = true"
            raise Park(f"{place}: {text}")
        await session.probe()

    async def _store(self, session: Session, rows: Sequence[tuple[int, Row]], verdict: Verdict) -> None:
        """Store rows, which come with their indexes; those that are refused are found by halving."""
        try:
            await session.store([row for _, row in rows])
        except PostgresError as error:
            if not is_of_a_row(error):
                raise
            if len(rows) == 1:
                verdict.refuse(rows[0][0], *refusal_of(self._place, error))
                return
        else:
            verdict.delivered.update(index for index, _ in rows)
            return
        half = len(rows) // 2
        await self._store(session, rows[:half], verdict)
        await self._store(session, rows[half:], verdict)

    def _report(self, profile: Profile) -> None:
        report_durability(
            self._context,
            destination=f"{self._settings.url}, table {self._settings.table}",
            risks=tuple(profile.risks()),
            version=profile.version,
            fsync=profile.fsync,
            synchronous_commit=profile.commits,
            synchronous_standby_names=profile.synchronous_standbys,
            standbys=profile.standbys,
        )
