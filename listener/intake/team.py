"""A supervisor's team: what is asked for, of whom, and how one agent stands."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from listener.model.team import TeamStatus
from listener.runtime.clock import Moment
from listener.webservices.supervisor import Person

AT_ONCE = 4  # requests
PER_S = 50  # of them: a denial-of-service filter may stand before the server


class Services(Protocol):
    """What is needed of the REST API; all raise WebServicesError."""

    async def users(self) -> list[Person]:
        """Everybody."""

    async def group(self, name: str) -> list[Person]:
        """The users of a group."""

    async def monitor(self, user_id: str) -> None:
        """Hear each chat that this user accepts."""

    async def cancel_monitoring(self, user_id: str) -> None:
        """No more of them."""

    async def chats(self) -> Sequence[msgspec.Raw]:
        """The supervisor's own chats now."""

    async def chats_under_way(self, user_id: str) -> Sequence[str]:
        """The ids of the user's chats."""

    async def join(self, user_id: str, chat_id: str) -> None:
        """Come into a chat of this user."""

    async def leave(self, chat_id: str) -> None:
        """Leave a chat."""


class Listening(Protocol):
    """What is needed of the receiver whose team this is."""

    def is_connected(self) -> bool:
        """Whether polls are granted."""

    def certain_at(self) -> Moment | None:
        """The last moment at which the session, and so the login, certainly held."""

    def reread(self) -> None:
        """Read the chats again: some were not heard for a while."""

    async def record_gap(self, since: Moment, until: Moment, reason: str, closed_by: str, agent: str | None) -> None:
        """Put a gap on record; returns once it is durable."""

    def remember(self) -> None:
        """Store how the team stands now, not with the next poll."""

    def note_team(self, status: TeamStatus) -> None:
        """How the team stands."""


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to be monitored, and how.

    Attributes:
        agents: their login names; None for all of the group, or of the site.
        group: its name; None without one.
        join_chats: whether to join chats under way.
        refresh_s: how often the list is read again, and who was refused is asked for again.
        revoked_is_over: whether the server takes a supervisor out of a chat only once it is completed.
    """

    agents: tuple[str, ...] | None = None
    group: str | None = None
    join_chats: bool = True
    refresh_s: float = 300.0
    revoked_is_over: bool = False


class Agent:
    """One of the team. `since` is when he was last monitored for certain; None if he is, or never was."""

    __slots__ = ("ask_at_s", "denials", "login", "since", "user_id", "why")

    def __init__(self, user_id: str | None, since: Moment | None) -> None:
        self.user_id = user_id
        self.since = since
        self.login = 0
        self.why: str | None = None
        self.denials = 0
        self.ask_at_s = 0.0
