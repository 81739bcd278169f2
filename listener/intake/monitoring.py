"""A supervisor's team: who belongs to it, that the supervisor hears each of them, and since when it may not."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import structlog

from listener.errors import LoginRefused, ParameterInvalid, ServerFault, Unreachable, WebServicesError
from listener.intake.joining import Joining
from listener.intake.revocations import RECORD_AFTER_S, Revocations
from listener.intake.team import AT_ONCE, PER_S, Agent, Listening, Services, Team
from listener.model.team import Before, TeamState, TeamStatus
from listener.runtime.backoff import Backoff
from listener.runtime.chore import Chore
from listener.runtime.clock import Moment
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.metrics import Metrics
from listener.webservices.supervisor import Person
from listener.webservices.team import TeamChats, TeamSeen

log = structlog.get_logger(__name__)

NOT_MONITORED, NOT_TOLD, REVOKED = "not_monitored", "not_told", "revoked"
_ATTEMPTS = 3
_LONGEST_DENIED_S = 86_400.0
_MOST_STORED = 500  # agents who are not monitored; with more, all are taken to be as uncertain as the first of them
_MOST_NAMED = 10


class Monitoring:
    """Asks the server to let a supervisor hear its team, and keeps account of when it may not have.

    Monitoring belongs to a login, as far as is known: after each login everybody is asked for again, and what came in
    between is a gap of the whole team. Who is refused has a gap of his own, from when he was last monitored until he is
    again; who never was has none, as an account has none that never could log in.

    Nothing is cancelled at a stop: the next process, or another replica, continues the login and its session, which
    keeps what comes meanwhile, and to cancel would make a hole. If nobody continues it, the server ends the monitoring
    with the login. Only whoever is taken out of the configuration, or of the group, is cancelled (`_read_list`,
    `release`).

    Args:
        account: the supervisor.
        team: who is to be monitored.
        services: the REST API, logged in as the supervisor.
        chats: what the notifications say of whose chats they are.
        metrics: counts.
        host: time and chance.

    Attributes:
        status: how the team stands.
        listening: the receiver whose team it is; it puts itself here.
    """

    listening: Listening

    def __init__(
        self,
        *,
        account: str,
        team: Team,
        services: Services,
        chats: TeamChats,
        metrics: Metrics,
        host: Host = THIS_HOST,
    ) -> None:
        self._account = account
        self._team = team
        self._services = services
        self._chats = chats
        self._metrics = metrics
        self._clock = host.clock
        self._uniform = host.random.uniform
        self._agents: dict[str, Agent] = {}
        self._missing: dict[str, Moment] = {}
        self._login = 1
        self._since: Moment | None = None
        self._has_monitored = False  # ever: what may be missed since is owed
        self._is_believed = False  # an earlier process has monitored under the login that holds still
        self._untold: Moment | None = None
        self._revocations = Revocations()
        self._joining = Joining(account=account, services=services, chats=chats, clock=host.clock)
        self._backoff = Backoff(first_s=1.0, limit_s=60.0, uniform=host.random.uniform)
        self._quiet_until_s = 0.0
        self._chore: Chore | None = None
        self._is_list_due = True
        self._is_again = False
        self._trouble: str | None = "its agents have not been read yet"
        self._is_released = False
        self.status = TeamStatus(trouble=self._trouble)

    @property
    def _log(self) -> Any:
        return log.bind(account=self._account)

    # --- from one process to the next -------------------------------------------------------------------------------

    def restore(self, seen: Moment, state: TeamState) -> None:
        """An earlier process had left this; `seen` is when it last was certain of its session."""

        def at(before: Before) -> Moment:
            is_timed = seen.monotonic_s is not None and before[0] >= 0
            monotonic_s = (seen.monotonic_s or 0.0) - before[0] / 1000 if is_timed else None
            return Moment(seen.wall_ms - before[1], monotonic_s)

        self._has_monitored = True
        self._is_believed = not state.ended and state.behind is None
        self._since = None if self._is_believed else at(state.behind or (0, 0))
        self._missing = {name: at(before) for name, before in state.missing}
        self._chats.told, self._chats.kept = state.untold is None, state.kept
        self._untold = None if state.untold is None else at(state.untold)
        if state.revoked is not None:
            self._revocations.restore(at(state.revoked), Moment.of(self._clock), is_certain=state.lost)

    def state(self, seen: Moment) -> TeamState | None:
        """What the next process needs; None as long as nobody has been monitored."""
        if not self._has_monitored:
            return None

        def before(since: Moment) -> Before:
            age_ms = -1 if since.monotonic_s is None else max(0, round(since.seconds_to(seen) * 1000))
            return age_ms, seen.wall_ms - since.wall_ms

        behind, missing = self._since, dict(self._missing)
        missing |= {name: one.since for name, one in self._agents.items() if one.since is not None}
        if len(missing) > _MOST_STORED:
            behind, missing = min([*missing.values(), *([] if behind is None else [behind])], key=_order), {}
        since = self._revocations.since
        return TeamState(
            behind=None if behind is None else before(behind),
            ended=self._is_released,
            missing=tuple((name, before(at)) for name, at in missing.items()),
            untold=None if self._chats.told or self._untold is None else before(self._untold),
            revoked=None if since is None else before(since),
            lost=self._revocations.is_certain,
            kept=self._chats.kept,
        )

    # --- what the session tells ---------------------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether the team has to be asked for again, and its chats may be missing without a sign."""
        return self._since is not None

    def begin(self, tasks: asyncio.TaskGroup) -> Chore:
        """Ask whenever there is somebody to ask for, until the chore is ended."""
        every_s = self._team.refresh_s
        self._chore = Chore(
            tasks, f"monitor {self._account}", self._refresh, every_s=every_s, first_s=every_s * self._uniform(0.5, 1.0)
        )
        return self._chore

    def logged_in(self) -> None:
        """There was a login: what was granted to the one before may be gone since that was last certain."""
        self._login += 1
        self._is_believed = False
        self._joining.try_again()
        if self._has_monitored:
            self._since = self._since or self.listening.certain_at() or Moment.of(self._clock)
        self.ask()

    def ask(self) -> None:
        """Polls are granted (again), or the team is another: see who has to be asked for."""
        self._is_again = True
        if self._chore is not None:
            self._chore.now()

    def watch(self, team: Team) -> None:
        """The configuration names another team."""
        self._team, self._is_list_due = team, True
        self._joining.try_again()
        self.ask()

    def new_seen(self) -> TeamSeen:
        """Where the receiver keeps what its session was told."""
        return TeamSeen(self._chats)

    def heard(self, at: Moment, *, since: Moment) -> None:
        """Notifications came at this time, and may have waited since then; what they say of chats is known already."""
        if self._chats.told and self._untold is not None:
            self._untold = None
            self._tell()
        if self._chats.kept:
            self._revocations.given_up()
        elif self._chats.revoked and not self._team.revoked_is_over:
            self._note_revoked(at, since)
        self._chats.revoked = 0

    def missed(self, at: Moment, *, since: Moment) -> None:
        """A gap of the session ends: what it hides may have been that the supervisor is out of a chat that goes on."""
        if self._has_monitored and not self._chats.kept and not self._team.revoked_is_over:
            self._note_revoked(at, since)

    def untold(self, until: Moment) -> Moment | None:
        """A value was read that was never told: since when that may be so, if the server tells this supervisor none.

        None if it has told one before: then the subscription is dead. What comes after `until` is uncertain again.
        """
        since = None if self._chats.told else self._untold
        if since is not None:
            self._untold = until
            self._tell(told=False)
            self._log.error("supervisor_not_told", effect="only reading the chats finds what is set")
        return since

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        """Until nobody is left to be asked for; then in intervals."""
        self._is_list_due = self._is_list_due or not self._is_again
        while self.listening.is_connected() and not self._is_released:
            login, self._is_again = self._login, False
            try:
                await self._round(login)
            except LoginRefused as exc:
                self._failed(exc)
                return  # the session logs in; whoever else tries may lock the account
            except WebServicesError as exc:
                self._failed(exc)
                await self._clock.sleep(self._pause_s(exc))
                continue
            self._backoff.reset()
            if login == self._login and not self._is_again:
                break
        await self._record_uncertain()

    def _failed(self, exc: WebServicesError) -> None:
        if self._trouble != str(exc):
            self._log.warning("team_not_read", error=str(exc))
        self._trouble = str(exc)
        self._tell()

    def _pause_s(self, exc: WebServicesError) -> float:
        asked_s = exc.retry_after_s if isinstance(exc, ServerFault) else None
        return max(self._backoff.next(), asked_s or 0.0)

    async def _round(self, login: int) -> None:
        """Read who belongs to the team, ask for those who are not monitored by this login, and account for it."""
        if self._is_list_due:
            await self._read_list()
            self._is_list_due = False
        self._trouble = None
        now_s = self._clock.monotonic_s()
        todo = [
            name for name, one in self._agents.items() if one.user_id and one.login != login and one.ask_at_s <= now_s
        ]
        granted: list[str] = []
        for start in range(0, len(todo), AT_ONCE):
            if login != self._login or not self.listening.is_connected():
                return
            some = todo[start : start + AT_ONCE]
            granted += [name for name, is_granted in await self._ask_for(some, login) if is_granted]
            await self._clock.sleep(len(some) / PER_S)
        self._tell()
        if login == self._login:
            await self._account_for(granted, login)
        self._tell()

    async def _read_list(self) -> None:
        """Who is not wanted any more is cancelled: the list is whole, since it was read without an error."""
        found, unknown = await self._wanted()
        self._chats.know(found.values())
        gone = [name for name in self._agents if name not in found and name not in unknown]
        await self._cancel(gone)
        for name, person in found.items():
            one = self._agents.setdefault(name, Agent(person.id, self._missing.pop(name, None)))
            if one.user_id != person.id:
                self._agents[name] = Agent(person.id, one.since)
        for name in list(self._missing):
            if name not in found and name not in unknown:
                await self._end_gap(name, self._missing.pop(name))
        for name in unknown:
            one = self._agents.setdefault(name, Agent(None, self._missing.pop(name, None)))
            one.why = "the server lists no user of this name"
            if one.login or (self._is_believed and one.since is None):
                self._not_monitored(one)

    async def _wanted(self) -> tuple[dict[str, Person], list[str]]:
        """Who is wanted and known, by name, and the names that nobody has."""
        if self._team.group is not None:
            people = await self._services.group(self._team.group)
            return {one.name: one for one in people if one.name != self._account}, []
        people = await self._services.users()
        if self._team.agents is None:
            return {one.name: one for one in people if not one.supervises and one.name != self._account}, []
        known = {one.name: one for one in people}
        found = {name: known[name] for name in self._team.agents if name in known}
        return found, [name for name in self._team.agents if name not in known]

    async def _ask_for(self, names: Iterable[str], login: int) -> list[tuple[str, bool]]:
        async def one(name: str) -> tuple[str, bool]:
            return name, await self._ask_for_one(self._agents[name], login)

        return await asyncio.gather(*map(one, names))

    async def _ask_for_one(self, agent: Agent, login: int) -> bool:
        """Ask until there is an answer, a few times at most; whether the agent is monitored now."""
        for attempt in range(_ATTEMPTS):
            await self._until_quiet()
            try:
                await self._monitor(agent)
            except (ServerFault, Unreachable) as exc:
                agent.why = str(exc)
                if attempt + 1 < _ATTEMPTS:
                    pause_s = self._pause_s(exc)
                    self._quiet_until_s = self._clock.monotonic_s() + pause_s
                    agent.why = f"{exc}; asked for again in {pause_s:.0f} s"
                    self._tell()  # a server may ask for an hour, in which nobody of this login is heard
            except WebServicesError as exc:
                agent.why = str(exc)
                self._deny(agent, exc)
                break
            else:
                agent.login, agent.why, agent.denials = login, None, 0
                return True
        self._metrics.count("monitor_requests_total", 1, "refused")
        self._not_monitored(agent)
        return False

    async def _monitor(self, agent: Agent) -> None:
        """Ask for one; where the server does not grant what it has granted already, cancel it first."""
        user_id = agent.user_id or ""
        try:
            await self._services.monitor(user_id)
        except ParameterInvalid:
            if self._is_believed and agent.since is None:
                return
            await self._services.cancel_monitoring(user_id)
            await self._services.monitor(user_id)
        self._metrics.count("monitor_requests_total", 1, "granted")

    def _deny(self, agent: Agent, exc: WebServicesError) -> None:
        """A refusal that looks like a lost login has cost a login, and everybody is asked for again: not too often."""
        if isinstance(exc, LoginRefused):
            agent.denials += 1
            pause_s = min(_LONGEST_DENIED_S, self._team.refresh_s * 2**agent.denials)
            agent.ask_at_s = self._clock.monotonic_s() + pause_s

    def _not_monitored(self, agent: Agent) -> None:
        """From when he was last monitored for certain, if he ever was."""
        was = agent.login or self._is_believed or self._since is not None
        agent.login = 0
        if agent.since is None and was and self._has_monitored:
            agent.since = self._since or self.listening.certain_at() or Moment.of(self._clock)
            self.listening.remember()

    async def _until_quiet(self) -> None:
        while (left_s := self._quiet_until_s - self._clock.monotonic_s()) > 0:
            await self._clock.sleep(left_s)

    async def _account_for(self, granted: Sequence[str], login: int) -> None:
        """Everybody has been asked for: come back into the chats, and record what may have been missed until then.

        A chat under way is heard again only once it is joined. A login that comes while a gap is stored begins another.
        """
        since, was_believed = self._since, self._is_believed
        regained = {name: at for name in granted if (at := self._agents[name].since) is not None}
        if granted:
            self._has_monitored = True
            self._untold = self._untold or (None if self._chats.told else Moment.of(self._clock))
        if granted and not was_believed:
            await self._come_into_chats(granted, since or min(regained.values(), key=_order, default=None))
        if login != self._login:
            return  # all this is to be done again
        now = Moment.of(self._clock)
        self._is_believed = False
        # A stretch is forgotten in the step that sends its gap off: what is stored from then on comes behind that.
        if since is not None:
            self._since = None
            self._keep_open(since, now, regained)
            await self.listening.record_gap(since, now, NOT_MONITORED, "monitor", None)
        for name, at in regained.items():
            if since is None or at.order < since.order:
                self._agents[name].since = None
                await self.listening.record_gap(at, now, NOT_MONITORED, "monitor", name)
        if since is not None or regained:
            self.listening.reread()
        if granted or since is not None:
            self._log.info("team_monitored", granted=len(granted), wanted=len(self._agents))
            self.listening.remember()

    def _keep_open(self, since: Moment, now: Moment, regained: Collection[str]) -> None:
        """All since then is on record with the team's gap, also of who is still not monitored."""
        for name, one in self._agents.items():
            if one.since is not None and one.since.order >= since.order:
                one.since = None if name in regained else now

    # --- chats that are gone ------------------------------------------------------------------------------------------

    async def _come_into_chats(self, granted: Sequence[str], since: Moment | None) -> None:
        """Since then chats of theirs may have gone on unheard; None if they were never heard before."""
        ids = {name: self._agents[name].user_id or "" for name in granted}
        if await self._joining.come_in(ids, regained=since is not None, join=self._team.join_chats):
            self._revocations.note(Moment.of(self._clock), since=since, is_certain=True)

    def _note_revoked(self, at: Moment, since: Moment) -> None:
        if self._revocations.note(at, since=since):
            self.listening.remember()
            self._tell()

    async def _record_uncertain(self, *, is_last: bool = False) -> None:
        """What nothing will ever show to have been heard goes on record in parts of an hour at most."""
        now = Moment.of(self._clock)
        stretch = self._revocations.due(now, is_last=is_last)
        if stretch is not None:
            await self.listening.record_gap(stretch.since, stretch.until, REVOKED, "limit", None)
        since = self._untold if self._chats.ended_untold and not self._chats.told else None
        if since is not None and (is_last or since.seconds_to(now) >= RECORD_AFTER_S):
            await self.listening.record_gap(since, now, NOT_TOLD, "limit", None)
            self._untold, self._chats.ended_untold = now, False
        if stretch is not None or since is not None:
            self.listening.remember()
            self._tell()

    # --- the end of it ------------------------------------------------------------------------------------------------

    async def release(self) -> None:
        """The supervisor is taken out of the configuration: cancel everybody, and put on record what is open.

        Cut off, it leaves the rest to the end of the login on the server.
        """
        self._is_released = True
        if self._chore is not None:
            self._chore.end()  # nobody is asked for any more, not even in the round under way
        now, since = Moment.of(self._clock), self._since
        self._since = now
        self.listening.remember()
        if since is not None:
            await self.listening.record_gap(since, now, NOT_MONITORED, "removal", None)
        await self._record_uncertain(is_last=True)
        await self._cancel(list(self._agents))

    async def _cancel(self, names: Sequence[str]) -> None:
        """These belong to the team no more."""
        heard = self._chats.heard()
        for name in names:
            agent = self._agents.pop(name)
            await self._end_gap(name, agent.since)
            if agent.user_id is None or agent.why is not None:
                continue
            theirs = [chat_id for chat_id, whose in heard.items() if whose == name]
            for step in (
                self._services.cancel_monitoring(agent.user_id),
                *(self._services.leave(chat_id) for chat_id in theirs),
            ):
                try:
                    await step
                except WebServicesError as exc:
                    self._log.warning("monitoring_not_cancelled", agent=name, error=str(exc))
            self._chats.lost(theirs)
            await self._clock.sleep(1 / PER_S)

    async def _end_gap(self, name: str, since: Moment | None) -> None:
        if since is not None:
            await self.listening.record_gap(since, Moment.of(self._clock), NOT_MONITORED, "removal", name)

    # --- how it stands ------------------------------------------------------------------------------------------------

    def _tell(self, *, told: bool | None = None) -> None:
        before = self.status
        is_told = self._chats.told or (before.told if told is None else told)
        silent = [(name, one) for name, one in self._agents.items() if not self._hears(one)]
        troubled = [(name, one.why or "not asked for yet") for name, one in silent]
        self.status = TeamStatus(
            wanted=len(self._agents),
            monitored=len(self._agents) - len(troubled),
            troubled=tuple(sorted(troubled)[:_MOST_NAMED]),
            trouble=self._trouble,
            told=is_told,
            revoked=self._revocations.since is not None,
        )
        self._metrics.add("agents_wanted", self.status.wanted - before.wanted)
        self._metrics.add("agents_monitored", self.status.monitored - before.monitored)
        self.listening.note_team(self.status)

    def _hears(self, agent: Agent) -> bool:
        return agent.login == self._login or (self._is_believed and agent.since is None and agent.why is None)


def _order(moment: Moment) -> tuple[bool, float]:
    return moment.order
