"""What the daemon tells of itself: `/livez`, `/readyz`, `/metrics`, and `/status.json`, whose schema it makes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

import msgspec
from aiohttp import web

from listener.model.condition import ReadinessProblem, SinkReport
from listener.model.event import Gap
from listener.model.team import TeamStatus
from listener.runtime.metrics import Metrics
from listener.web.routes import Call, Route, json_answer, text_answer

_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
SCHEMA_VERSION: Literal[1] = 1


class Probes:
    """Liveness, readiness and metrics.

    `/livez` says only that the process answers: a sink that is down is no reason to restart it. `/readyz` is 503 while
    there is a problem, one a line: in full for who may know, and otherwise without a word of a customer, an agent or
    a server.

    Args:
        problems: what keeps the process from its whole work now.
        metrics: what `/metrics` exposes, in the Prometheus text format.
    """

    def __init__(self, *, problems: Callable[[], Sequence[ReadinessProblem]], metrics: Metrics) -> None:
        self._problems = problems
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """The three paths."""
        return [
            Route("GET", "/livez", self._live, is_open=True),
            Route("GET", "/readyz", self._ready, is_open=True),
            Route("GET", "/metrics", self._exposition),
        ]

    async def _live(self, _call: Call) -> web.StreamResponse:
        return text_answer("ok")

    async def _ready(self, call: Call) -> web.StreamResponse:
        found = self._problems()
        if not found:
            return text_answer("ready")
        return text_answer("\n".join(one.full if call.trusted else one.brief for one in found), status=503)

    async def _exposition(self, _call: Call) -> web.StreamResponse:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": _EXPOSITION})


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Times are RFC 3339, UTC. Within a schema version fields are only added: readers ignore those they do not know."""


class Build(Part, frozen=True, kw_only=True):
    """What runs, and since when."""

    version: str
    python: str
    started_at: str


class Gaps(Part, frozen=True, kw_only=True):
    """Stretches of this process in which a disposition could have been missed; `last` is the newest of them."""

    count: int
    seconds: float
    last: Gap | None


class UnheardAgent(Part, frozen=True, kw_only=True):
    """An agent who should be monitored and is not, and why."""

    agent: str
    why: str


class TeamReport(Part, frozen=True, kw_only=True):
    """A supervisor's team: how many agents it should hear, and how many of them are monitored.

    `troubled` are the first of the others. `problem` says in words what is not heard, null if all is.
    `properties_told` is false once the server has turned out not to tell the supervisor what is set; with `revoked`,
    codes that are set after the agent has left a chat may not be heard.
    """

    wanted: int
    monitored: int
    troubled: tuple[UnheardAgent, ...]
    problem: str | None
    properties_told: bool
    revoked: bool

    @classmethod
    def of(cls, team: TeamStatus) -> "TeamReport":
        """A team as it stands."""
        return cls(
            wanted=team.wanted,
            monitored=team.monitored,
            troubled=tuple(UnheardAgent(agent=agent, why=why) for agent, why in team.troubled),
            problem=team.problem,
            properties_told=team.told,
            revoked=team.revoked,
        )


class AccountReport(Part, frozen=True, kw_only=True):
    """One account's session. `epoch` counts its sessions in its process; it stands since `subscribed_at`.

    `trouble` is what is wrong with it since `trouble_since`, null if nothing is. Since `gap_since` a disposition can be
    missed; null while none can. `replica` has it: null for none, and where no replicas share the journal. `team` is a
    supervisor's.
    """

    account: str
    subscribed: bool
    subscribed_at: str | None
    epoch: int
    ack: bool
    silent_seconds: float
    gaps: Gaps
    last_error: str | None
    trouble: str | None = None
    trouble_since: str | None = None
    gap_since: str | None = None
    replica: str | None = None
    team: TeamReport | None = None


class ReplicaStatus(Part, frozen=True, kw_only=True):
    """One of the replicas that share the journal, and how many accounts and sinks it has.

    `state` is `alive`, `draining`, or `late` if it has not beaten in time. `ready` and `problems` are what it has told
    of itself; null before it has.
    """

    name: str
    state: str
    beat_age_seconds: float
    joined_at: str
    version: str
    accounts: int
    sinks: int
    housekeeping: bool
    ready: bool | None
    problems: tuple[str, ...]


class Stored(Part, frozen=True, kw_only=True):
    """What the journal holds, delivered events included."""

    events: int
    first_sequence: int
    oldest_at: str | None
    damages: tuple["DamageReport", ...]


class DamageReport(Part, frozen=True, kw_only=True):
    """A damaged journal that was set aside at a start, and how many of its events could be kept."""

    at: str
    set_aside: str
    kept: int


class JournalReport(Part, frozen=True, kw_only=True):
    """The journal. `depth_events` counts events that a sink has not got yet, `failing` is why it cannot commit now.

    `stored` is null while the journal cannot be asked.
    """

    last_sequence: int
    depth_events: int
    oldest_age_seconds: float
    bytes: int
    failing: str | None
    commit_waiting_seconds: float
    stored: Stored | None


class ConfigurationReport(Part, frozen=True, kw_only=True):
    """Since when the configuration is in force; `problems` are those of a later one, refused at `refused_at`."""

    loaded_at: str
    refused_at: str | None
    problems: tuple[str, ...]


class DeadLetters(Part, frozen=True, kw_only=True):
    """Events that sinks did not take, those of sinks that are no longer configured too."""

    total: int
    by_sink: dict[str, int]


class Status(Part, frozen=True, kw_only=True):
    """The daemon at the moment `at`. `problems` say why it is not ready, in the words of `/readyz`.

    `dead_letters` is null while the journal cannot be asked. Where replicas share the journal, the answer is that of
    `replica`, and accounts, sinks and gaps are those of all; `replicas` is null, and they are its own, while the others
    cannot be asked for.
    """

    schema_version: Literal[1]
    at: str
    ready: bool
    problems: tuple[str, ...]
    build: Build
    configuration: ConfigurationReport
    accounts: tuple[AccountReport, ...]
    sinks: tuple[SinkReport, ...]
    gaps: Gaps
    dead_letters: DeadLetters | None
    journal: JournalReport
    replica: str | None = None
    replicas: tuple[ReplicaStatus, ...] | None = ()


class StatusPage:
    """Serves the status.

    Args:
        status: the status at this moment; awaited once a request.
    """

    def __init__(self, *, status: Callable[[], Awaitable[Status]]) -> None:
        self._status = status

    def routes(self) -> list[Route]:
        """The one path."""
        return [Route("GET", "/status.json", self._show)]

    async def _show(self, _call: Call) -> web.StreamResponse:
        return json_answer(await self._status())
