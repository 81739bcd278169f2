"""What a supervisor can ask of the REST API beside an agent's: users, groups, monitoring, chats of others."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from msgspec.structs import force_setattr

from listener.errors import NotFound, ParameterInvalid, ParameterMissing, ServerFault
from listener.webservices.answers import decode, elements, pieces, read_or_none
from listener.webservices.client import WebServices

USERS = "/api/v2/users"
GROUPS = "/api/v2/groups"
ROLE = "SUPERVISOR"
"""What the name of a supervisor's role holds, in any case."""
MOST_USERS = 100_000
_PAGE = 500
_MOST_PAGES = 1000
_MOST_BYTES = 16 * 2**20
_MOST_GROUPS = 10_000
_NONE = msgspec.Raw(b"null")
_MOST_CHATS = 10_000
_MOST_CHARS = 32 * 2**20  # in the names of all users

_Name = Annotated[str, msgspec.Meta(max_length=256)]


class Person(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A user of the site, as far as it is needed here; of the roles only that of a supervisor is kept."""

    id: _Name
    user_name: _Name | None = None
    first_name: _Name | None = None
    last_name: _Name | None = None
    roles: tuple[Any, ...] | None = None

    def __post_init__(self) -> None:
        if self.roles:
            force_setattr(self, "roles", (ROLE,) if self.supervises else ())

    @property
    def name(self) -> str:
        """The login name; the id where there is none."""
        return self.user_name or self.id

    @property
    def chars(self) -> int:
        """How long all names are together."""
        return sum(len(name or "") for name in (self.id, self.user_name, self.first_name, self.last_name))

    @property
    def supervises(self) -> bool:
        """Whether one of the roles is that of a supervisor."""
        return any(ROLE in str(role).upper() for role in self.roles or ())


class _Group(msgspec.Struct, frozen=True):
    id: str | None = None
    name: str | None = None
    users: msgspec.Raw = _NONE


class _Groups(msgspec.Struct, frozen=True):
    groups: msgspec.Raw = _NONE


class _Users(msgspec.Struct, frozen=True):
    users: msgspec.Raw = _NONE


class _ChatId(msgspec.Struct, frozen=True):
    id: str


class _Chats(msgspec.Struct, frozen=True):
    chats: msgspec.Raw = _NONE


class SupervisorServices(WebServices):
    """The REST session of a supervisor; an answer about a whole team may be larger than one about an agent."""

    __slots__ = ()

    most_chats = _MOST_CHATS
    most_bytes = _MOST_BYTES

    async def users(self) -> list[Person]:
        """Everybody whom the server lists, whether it knows pages (`limit`, `offset`) or not (Users API).

        A page may be shorter than was asked for, so the end is where a page brings nobody new.

        Raises:
            ServerFault: there are more than MOST_USERS, or an answer or all names are too large.
        """
        found: dict[str, Person] = {}
        chars = 0
        for _ in range(_MOST_PAGES):
            page = await self._page(f"&limit={_PAGE}&offset={len(found)}" if found else f"&limit={_PAGE}&offset=0")
            new = {one.id: one for one in await _people(page) if one.id not in found}
            if not new:
                break
            found |= new
            chars += sum(one.chars for one in new.values())
            if len(found) > MOST_USERS or chars > _MOST_CHARS:
                raise ServerFault(f"GET {USERS}: the server lists more than {MOST_USERS} users, or too long names")
        return list(found.values())

    async def _page(self, window: str) -> list[msgspec.Raw]:
        try:
            return await self._users(USERS, f"fields=*{window}")
        except (ParameterInvalid, ParameterMissing):  # it knows no pages, and says so
            return await self._users(USERS, "fields=*") if window.endswith("=0") else []

    async def group(self, name: str) -> list[Person]:
        """The users of a group, whether the list of groups holds them or each group has to be asked for them.

        Raises:
            NotFound: there is no such group; the text names some that there are.
        """
        reply = await self._session.call("GET", GROUPS, query="fields=*", most_bytes=_MOST_BYTES)
        listed = await elements(reply, decode(reply, _Groups).groups, most=_MOST_GROUPS, what="groups")
        groups = [found for one in listed if (found := read_or_none(_Group, one)) is not None]
        for group in groups:
            if name in (group.name, group.id):
                people = await elements(reply, group.users, most=MOST_USERS, what="users")
                if group.users == _NONE:
                    path = f"{GROUPS}/{quote(group.id or name, safe='')}/users"
                    people = await self._users(path, "fields=*")
                return await _people(people)
        known = ", ".join(sorted(str(one.name) for one in groups)[:10]) or "none"
        raise NotFound(f"GET {GROUPS}: there is no group {name!r} (the server lists: {known})")

    async def _users(self, path: str, query: str) -> list[msgspec.Raw]:
        reply = await self._session.call("GET", path, query=query, most_bytes=_MOST_BYTES)
        return await elements(reply, decode(reply, _Users).users, most=MOST_USERS, what="users")

    async def monitor(self, user_id: str) -> None:
        """From now on hear, silently, each chat that this user accepts (Supervisor API, Monitor with AllChats)."""
        await self._on_channel(user_id, {"operationName": "Monitor", "supervisorMonitoringMode": "AllChats"})

    async def cancel_monitoring(self, user_id: str) -> None:
        """No more of this user's chats; those under way are left one by one."""
        await self._on_channel(user_id, {"operationName": "CancelSupervisorMonitoring"})

    async def _on_channel(self, user_id: str, operation: dict[str, str]) -> None:
        path = f"{USERS}/{quote(user_id, safe='')}/channels/chat"
        await self._session.call("POST", path, body=msgspec.json.encode(operation))

    async def chats_under_way(self, user_id: str) -> Sequence[str]:
        """The ids of a user's chats. Not documented: a server may not know it (NotFound)."""
        reply = await self._session.call("GET", f"{USERS}/{quote(user_id, safe='')}/chats")
        listed = await elements(reply, decode(reply, _Chats).chats, most=_MOST_CHATS, what="chats")
        return [found.id for one in listed if (found := read_or_none(_ChatId, one)) is not None]

    async def join(self, user_id: str, chat_id: str) -> None:
        """Come silently into a chat of this user that is under way (Intrude with the visibility Monitor)."""
        path = f"{USERS}/{quote(user_id, safe='')}/chats/{quote(chat_id, safe='')}"
        operation = {"operationName": "Intrude", "supervisorVisibilityMode": "Monitor"}
        await self._session.call("POST", path, body=msgspec.json.encode(operation))

    async def leave(self, chat_id: str) -> None:
        """Leave a chat under way."""
        path = f"/api/v2/me/chats/{quote(chat_id, safe='')}"
        await self._session.call("POST", path, body=msgspec.json.encode({"operationName": "Leave"}))


async def _people(raw: Sequence[msgspec.Raw]) -> list[Person]:
    """Those that can be read; one spoilt entry does not hide the others."""
    found: list[Person] = []
    for piece in pieces(raw):
        found += [one for each in piece if (one := read_or_none(Person, each)) is not None]
        await asyncio.sleep(0)
    return found
