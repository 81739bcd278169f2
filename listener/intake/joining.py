"""Brings a supervisor into chats under way, as far as the server lets it, and tells what it cannot come back to."""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from listener.errors import NotFound, OperationForbidden, ParameterInvalid, WebServicesError
from listener.intake.team import AT_ONCE, PER_S, Services
from listener.runtime.clock import Clock
from listener.webservices.team import TeamChats

log = structlog.get_logger(__name__)


class Joining:
    """Comes into the chats of agents who are monitored (again).

    Args:
        account: the supervisor.
        services: the REST API.
        chats: what is known of chats.
        clock: to wait by.
    """

    def __init__(self, *, account: str, services: Services, chats: TeamChats, clock: Clock) -> None:
        self._account = account
        self._services = services
        self._chats = chats
        self._clock = clock
        self._is_refused = False

    @property
    def _log(self) -> Any:
        return log.bind(account=self._account)

    def try_again(self) -> None:
        """There is another login, or another configuration: it may be allowed now."""
        self._is_refused = False

    async def come_in(self, granted: Mapping[str, str], *, regained: bool, join: bool) -> bool:
        """Join what is under way of these agents, by name with their user ids; whether chats may go on unheard.

        Only with `regained` there can be such, since before that none was ever heard. Where the server lists no chats
        of others, those that were heard before are tried; nobody knows of those that have begun since.
        """
        before = self._chats.heard() if regained else {}
        try:
            present = self._chats.ids_of(await self._services.chats())
            self._chats.lost(chat_id for chat_id in before if chat_id not in present)
            under_way = await self._under_way(granted) if join else None
            wanted = before if under_way is None else under_way
            left_out = [
                chat_id
                for chat_id, agent in wanted.items()
                if chat_id not in present and not (join and await self._join(chat_id, agent, granted))
            ]
        except WebServicesError as exc:
            self._log.warning("chats_not_joined", error=str(exc))
            return regained
        is_lost = regained and (under_way is None or bool(left_out))
        if is_lost:
            self._log.warning("chats_lost", chats=len(left_out), effect="they may go on unheard")
        return is_lost

    async def _under_way(self, granted: Mapping[str, str]) -> dict[str, str | None] | None:
        """The chats of these agents, and whose they are; None where the server does not tell."""
        found: dict[str, str | None] = {}
        names = list(granted)
        for start in range(0, len(names), AT_ONCE):
            if self._is_refused:
                return None
            some = names[start : start + AT_ONCE]
            try:
                lists = await asyncio.gather(*(self._services.chats_under_way(granted[name]) for name in some))
            except (NotFound, OperationForbidden, ParameterInvalid) as exc:
                self._log.info("chats_under_way_not_told", answer=str(exc))
                self._is_refused = True
                return None
            found |= {chat_id: name for name, ids in zip(some, lists, strict=True) for chat_id in ids}
            await self._clock.sleep(len(some) / PER_S)
        return found

    async def _join(self, chat_id: str, agent: str | None, granted: Mapping[str, str]) -> bool:
        user_id = granted.get(agent or "")
        if user_id is None:
            return False
        await self._clock.sleep(1 / PER_S)
        try:
            await self._services.join(user_id, chat_id)
        except (NotFound, OperationForbidden, ParameterInvalid):
            return False
        self._chats.joined(chat_id, agent or "")
        return True
