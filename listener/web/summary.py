"""`/summary.json` and `/accounts.json`: what is well and what is not, however many accounts there are."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from listener.model.condition import SinkReport
from listener.web.routes import Call, Limit, Route, given, json_answer, query_of
from listener.web.status import (
    AccountReport,
    Build,
    ConfigurationReport,
    DeadLetters,
    Gaps,
    JournalReport,
    Part,
    ReplicaStatus,
)

Name = Annotated[str, msgspec.Meta(max_length=400)]


class HealthProblem(Part, frozen=True, kw_only=True):
    """What is not well, in a sentence, and since when that has been seen.

    `kind` is `start`, `journal`, `sink`, `accounts`, `replica`, `configuration` or `deadLetters`. `help` is a command
    that helps, or shows more; `link` a view of the console.
    """

    what: str
    since: str
    kind: str
    help: str | None = None
    link: str | None = None


class Rates(Part, frozen=True, kw_only=True):
    """Means over the last 60 s. An event that goes to two sinks is two deliveries."""

    events_per_second: float
    deliveries_per_second: float


class HourGap(Part, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A gap that was put on record within the last hour; `agent` is whose it is, if it is that of a single one."""

    account: str
    from_: str
    to: str
    seconds: float
    reason: str
    agent: str | None = None


class LastHour(Part, frozen=True, kw_only=True):
    """The last hour in steps of a minute, the current one last; the first begins at `since`.

    `events` were written to the journal, `delay_ms` is the longest time from the receipt of an event to its delivery.
    What nobody knows, since the process was not there, is null: nothing is known from before `known_since`. `gaps` are
    the newest ones, newest first. Where replicas share the journal, all of this is what `replica` alone has done.
    """

    since: str
    known_since: str
    step_seconds: int
    events: tuple[int | None, ...]
    delay_ms: tuple[int | None, ...]
    gaps: tuple[HourGap, ...]
    replica: str | None = None


class AccountCounts(Part, frozen=True, kw_only=True):
    """How many accounts there are; `troubled` are those without a subscription, and those that are silent."""

    total: int
    subscribed: int
    troubled: int


class Trouble(Part, frozen=True, kw_only=True):
    """Accounts with the same trouble: how many, and the names of the first ten.

    The first of them has been in trouble since `first_at`; the trouble was last reported at `last_at`.
    """

    what: str
    count: int
    accounts: tuple[str, ...]
    first_at: str
    last_at: str


class OpenGap(Part, frozen=True, kw_only=True):
    """Since `since` a disposition of this account can be missed; a session that lasted until then will have kept it."""

    account: str
    since: str
    why: str


class OpenGaps(Part, frozen=True, kw_only=True):
    """Stretches that are running; the newest first."""

    count: int
    oldest_at: str | None
    newest: tuple[OpenGap, ...]


class Summary(Part, frozen=True, kw_only=True):
    """What there is to know at one glance. `health` is empty if all is well.

    `instance` is the host's name, `server` the Web Services that are listened to. Where replicas share the journal,
    accounts, troubles, open gaps, gaps and sinks are those of all, as in `/status.json`. At most 50 troubles, 20 open
    gaps and 100 gaps of the last hour are told.

    The command `status` has the same from a journal that no daemon has, or from the database of replicas: what these do
    not know is null then (`build`, `configuration`, `rates`, `last_hour`), and only then.
    """

    schema_version: Literal[1]
    at: str
    ready: bool
    instance: str
    server: str
    build: Build | None
    configuration: ConfigurationReport | None
    health: tuple[HealthProblem, ...]
    rates: Rates | None
    last_hour: LastHour | None
    accounts: AccountCounts
    troubles: tuple[Trouble, ...]
    open_gaps: OpenGaps
    sinks: tuple[SinkReport, ...]
    gaps: Gaps
    dead_letters: DeadLetters | None
    journal: JournalReport
    replica: str | None = None
    replicas: tuple[ReplicaStatus, ...] | None = ()


class AccountState(StrEnum):
    """Which accounts are meant."""

    ALL = "all"
    TROUBLED = "troubled"
    SUBSCRIBED = "subscribed"


class AccountQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `/accounts.json`: `search` is a part of the name or of the trouble, without regard to case.

    `after` is a name: accounts behind it.
    """

    search: Name | UnsetType = UNSET
    state: AccountState = AccountState.ALL
    after: Name | UnsetType = UNSET
    limit: Limit = 100


class AccountPage(Part, frozen=True, kw_only=True):
    """Accounts in the order of their names. `next` is what to give as `after`, null at the end.

    `total` counts all that are meant, on this page and on others.
    """

    accounts: tuple[AccountReport, ...]
    next: str | None
    total: int


class SummaryPages:
    """Serves both.

    Args:
        summary: what is well and what is not at this moment; awaited once a request.
        accounts: a page of accounts: a part of names or troubles, which of them, behind which name, how many at most.
    """

    def __init__(
        self,
        *,
        summary: Callable[[], Awaitable[Summary]],
        accounts: Callable[[str, AccountState, str, int], Awaitable[AccountPage]],
    ) -> None:
        self._summary = summary
        self._accounts = accounts

    def routes(self) -> list[Route]:
        """Both paths."""
        return [
            Route("GET", "/summary.json", self._show),
            Route("GET", "/accounts.json", self._list),
        ]

    async def _show(self, _call: Call) -> web.StreamResponse:
        return json_answer(await self._summary())

    async def _list(self, call: Call) -> web.StreamResponse:
        query = query_of(call, AccountQuery)
        page = await self._accounts(given(query.search) or "", query.state, given(query.after) or "", query.limit)
        return json_answer(page)
