"""A supervisor's session: as an agent's, and it keeps account of whom it hears."""

import asyncio
from typing import Any

import msgspec

from listener.cometd.facts import Batch, Polled, PollingEnded, Subscribed
from listener.intake.monitoring import NOT_TOLD, Monitoring
from listener.intake.receiver import Receiver
from listener.intake.team import Team
from listener.model.event import Entry, Gap, SessionState
from listener.model.team import TeamStatus
from listener.runtime.chore import Chore
from listener.runtime.clock import Moment
from listener.webservices.notifications import DecodedBatch


class SupervisorReceiver(Receiver):
    """A receiver whose chats are those of a team.

    A gap of it that names no agent is one of everybody in the team.

    Args:
        monitoring: asks the server for the team.
        options: as for Receiver.
    """

    def __init__(self, *, monitoring: Monitoring, **options: Any) -> None:
        super().__init__(**options)
        self._monitoring = monitoring
        self._last_session: SessionState | None = None
        monitoring.listening = self
        self.seen_chats = monitoring.new_seen()
        self._stands(team=monitoring.status)
        seen = self._stored_moment()
        if self._saved is not None and self._saved.team is not None and seen is not None:
            monitoring.restore(seen, self._saved.team)

    # --- for the monitoring: `monitoring.Listening` -------------------------------------------------------------------

    def certain_at(self) -> Moment | None:
        """The last moment at which the session, and so the login, certainly held."""
        return self._liveness.polled_at or self._stored_moment()

    def reread(self) -> None:
        """Read the chats again: some were not heard for a while."""
        if self._reconciler is not None:
            self._reconciler.ask()

    async def record_gap(self, since: Moment, until: Moment, reason: str, closed_by: str, agent: str | None) -> None:
        """Put a gap on record; returns once it is durable."""
        gap = self._gap(since, until, reason, closed_by, agent=agent)
        self._log.warning("team_gap", agent=agent, reason=reason, gap=f"{gap.from_} to {gap.to}")
        await self._record(Entry(account=self._identity.account, gap=gap))

    def remember(self) -> None:
        """Store how the team stands now, beside the session as it was stored last: whatever is taken since comes again.

        Otherwise a process that is killed would leave the team as it was with the last poll.
        """
        if self._last_session is not None:
            self._last_session = self._with_team(self._last_session)
            self._submit(Entry(account=self._identity.account, session=self._last_session), _nothing)

    def note_team(self, status: TeamStatus) -> None:
        """How the team stands."""
        self._stands(team=status)

    def watch(self, team: Team) -> None:
        """The configuration names another team; the session goes on."""
        self._monitoring.watch(team)

    async def release(self) -> None:
        """The configuration names this supervisor no more: see `Monitoring.release`."""
        await self._monitoring.release()

    # --- where it differs from an account -----------------------------------------------------------------------------

    def is_healthy(self) -> bool:
        """As an account's; chats of a team that is to be asked for again are missing without a sign."""
        return super().is_healthy() and not self._monitoring.is_due

    def found_dead(self, until: Moment | None) -> Gap | None:
        """As an account's, unless the server was never seen to tell a supervisor what is set.

        Then to subscribe again, or to begin a new session, would change nothing: it is a gap since that is uncertain.
        """
        read_at = until or Moment.of(self._host.clock)
        since = self._monitoring.untold(read_at)
        if since is None:
            dead_since, gap = self._liveness.since, super().found_dead(until)
            if gap is not None and dead_since is not None:
                self._monitoring.missed(read_at, since=dead_since)
            return gap
        self._liveness.trust()
        return self._gap(since, read_at, NOT_TOLD, "reread")

    def _begin_chores(self, tasks: asyncio.TaskGroup) -> list[Chore]:
        return [*super()._begin_chores(tasks), self._monitoring.begin(tasks)]

    def _note(self, decoded: DecodedBatch, batch: Batch) -> None:
        before = self._liveness.polled_at
        super()._note(decoded, batch)
        self._monitoring.heard(batch.at, since=before or batch.at)

    async def _on_subscribed(self, fact: Subscribed) -> None:
        since = self._gap_start(fact) if self._missed(fact) else None
        await super()._on_subscribed(fact)
        if since is not None:
            self._monitoring.missed(fact.at, since=since)
        self._monitoring.ask()

    def _session(self, fact: Batch | Subscribed | Polled | PollingEnded) -> SessionState | None:
        session = super()._session(fact)
        if session is not None:
            session = self._last_session = self._with_team(session)
        return session

    def _with_team(self, session: SessionState) -> SessionState:
        monotonic_ms = session.seen_monotonic_ms
        seen = Moment(session.seen_ms, None if monotonic_ms is None else monotonic_ms / 1000)
        return msgspec.structs.replace(session, team=self._monitoring.state(seen))


def _nothing() -> None:
    """Nobody waits for it."""
