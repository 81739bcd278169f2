"""Supervisors: whom they monitor, the chats that they hear silently, and what the REST API lets them ask."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from listener.errors import NotFound, OperationForbidden, ParameterInvalid, ServerFault, WebServicesError
from listener.simulator.logins import HttpSession
from listener.simulator.media import CHAT, ChatState, NoticeKind
from listener.simulator.notices import chat_notice, chat_resource
from listener.simulator.options import SimulatorOptions
from listener.simulator.state import Agent, Chat, ContactCenter

_CHANNEL = re.compile(r"/api/v2/users/([^/]+)/channels/chat")
_CHATS = re.compile(r"/api/v2/users/([^/]+)/chats")
_ONE_CHAT = re.compile(r"/api/v2/users/([^/]+)/chats/([^/]+)")
_MEMBERS = re.compile(r"/api/v2/groups/([^/]+)/users")


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """How Monitor is refused for an agent, and how often still."""

    status: int
    status_code: int
    count: int


@dataclass(kw_only=True, slots=True)
class _Watch:
    """One supervisor's monitoring of an agent; `login` is the HTTP session that asked for it."""

    login: str
    next_only: bool


class Supervision:
    """What supervisors may do, and what reaches them.

    A supervisor comes into a chat when an agent whom he monitors accepts it, hears all of it, and is seen by nobody.
    What differs from site to site, or is not known, is an option (see `SimulatorOptions`).

    Args:
        center: the agents and chats.
        publish: hand a notification to a user's sessions.
        options: see there.
        clock_ms: epoch milliseconds.
        lives: whether an HTTP session is logged in still.
        users: the supervisors, by their names.
    """

    def __init__(
        self,
        *,
        center: ContactCenter,
        publish: Callable[[str, Mapping[str, Any], str], int],
        options: SimulatorOptions,
        clock_ms: Callable[[], int],
        lives: Callable[[str], bool],
        users: Mapping[str, Agent],
    ) -> None:
        self._center = center
        self._publish = publish
        self._options = options
        self._clock_ms = clock_ms
        self._lives = lives
        self.users = users
        self._watches: dict[tuple[str, str], _Watch] = {}  # by supervisor and agent
        self._views: dict[str, dict[str, tuple[Chat, str]]] = {name: {} for name in self.users}
        self.refusals: dict[str, Refusal] = {}
        self.asked = 0

    # --- what happens on the floor ------------------------------------------------------------------------------------

    def arrived(self, chat: Chat, agent: str, *, base_url: str) -> None:
        """The agent has accepted a chat, or has come into one: who monitors him hears it from now on."""
        for supervisor in self._watching(agent) if chat.medium is CHAT else ():
            watch = self._watches[supervisor, agent]
            if watch.next_only:
                del self._watches[supervisor, agent]
            if chat.id not in self._views[supervisor]:
                self._views[supervisor][chat.id] = (chat, watch.login)
                self._tell(NoticeKind.STATUS, chat, supervisor, base_url=base_url)

    def tell(
        self, kind: NoticeKind, chat: Chat, *, base_url: str, user_data: Mapping[str, Any] | None = None
    ) -> tuple[str, ...]:
        """Something has happened in a chat; returns which supervisors heard of it."""
        if kind is NoticeKind.PROPERTIES and not self._options.supervisor_hears_properties:
            return ()
        present = list(self._in(chat))
        return tuple(one for one in present if self._tell(kind, chat, one, base_url=base_url, user_data=user_data))

    def left(self, chat: Chat, *, base_url: str) -> None:
        """An agent has left a chat, and has not completed it."""
        if self._options.supervisor_dropped_on_leave and ChatState.CHATTING not in chat.states.values():
            self._revoke(chat, base_url=base_url)

    def ended(self, chat: Chat, *, base_url: str) -> None:
        """An agent is done with a chat; the last one ends it for its supervisors too."""
        if not chat.states:
            self._revoke(chat, base_url=base_url)
        else:
            self.left(chat, base_url=base_url)

    def forget_watches(self, supervisor: str | None = None, agent: str | None = None) -> int:
        """Monitoring ends, and nobody is told; returns how many did."""
        gone = [one for one in self._watches if supervisor in (None, one[0]) and agent in (None, one[1])]
        for one in gone:
            del self._watches[one]
        return len(gone)

    def monitored(self, supervisor: str) -> list[str]:
        """Whom he monitors now."""
        self._prune()
        return sorted(agent for one, agent in self._watches if one == supervisor)

    def chats_of(self, supervisor: str) -> list[tuple[Chat, ChatState]]:
        """The chats that he hears now, as he sees them."""
        self._prune()
        return [(chat, ChatState.CHATTING) for chat, _ in self._views[supervisor].values()]

    def leave(self, supervisor: str, chat_id: str, *, base_url: str) -> None:
        """The supervisor leaves a chat. Raises NotFound."""
        self._prune()
        if chat_id not in self._views[supervisor]:
            raise NotFound(f"Chat {chat_id} was not found", http_status=404, status_code=6)
        chat, _ = self._views[supervisor].pop(chat_id)
        self._tell(NoticeKind.STATUS, chat, supervisor, state=ChatState.LEFT, base_url=base_url)

    def _revoke(self, chat: Chat, *, base_url: str) -> None:
        for supervisor in list(self._in(chat)):
            del self._views[supervisor][chat.id]
            self._tell(NoticeKind.STATUS, chat, supervisor, state=ChatState.REVOKED, base_url=base_url)

    def _in(self, chat: Chat) -> Iterator[str]:
        self._prune()
        return (supervisor for supervisor, views in self._views.items() if chat.id in views)

    def _watching(self, agent: str) -> list[str]:
        self._prune()
        return [supervisor for supervisor, watched in self._watches if watched == agent]

    def _prune(self) -> None:
        """What a login had asked for, or been let into, ends with it, in silence."""
        if self._options.monitoring_survives_login or not self.users:
            return
        for key in [key for key, watch in self._watches.items() if not self._lives(watch.login)]:
            del self._watches[key]
        for views in self._views.values():
            for chat_id in [chat_id for chat_id, (_, login) in views.items() if not self._lives(login)]:
                del views[chat_id]

    def _tell(
        self,
        kind: NoticeKind,
        chat: Chat,
        supervisor: str,
        *,
        base_url: str,
        state: ChatState = ChatState.CHATTING,
        user_data: Mapping[str, Any] | None = None,
    ) -> bool:
        shown = chat.user_data if user_data is None else user_data
        resource = chat_resource(chat, state, base_url=base_url, user_data=shown)
        stamp_ms = self._clock_ms() if self._options.server_time else None
        notice = chat_notice(kind, resource, reference_id=None, generated_ms=stamp_ms, medium=CHAT)
        return self._publish(supervisor, notice, CHAT.topic) > 0

    # --- the REST API -------------------------------------------------------------------------------------------------

    def get(self, path: str, query: Mapping[str, str], session: HttpSession, base_url: str) -> Mapping[str, Any] | None:
        """The answer to a GET; None if it is none of ours. Raises NotFound, OperationForbidden."""
        if path == "/api/v2/users":
            self._role(session)
            return {"users": self._page([self._user(one, base_url) for one in self._everybody()], query)}
        if path == "/api/v2/groups":
            self._role(session)
            return {"groups": [self._group(name, members, base_url) for name, members in self._options.groups]}
        if (found := _MEMBERS.fullmatch(path)) is not None:
            self._role(session)
            members = dict(self._options.groups).get(found[1].removeprefix("group-"), ())
            return {"users": [self._user(self._center.agents[name], base_url) for name in members]}
        if (found := _CHATS.fullmatch(path)) is not None:
            self._role(session)
            agent = self._agent(found[1])
            if not self._options.intrude:
                raise NotFound(f"GET {path} was not found", http_status=404, status_code=6)
            return {"chats": [_chat(chat, agent.name, base_url) for chat in self._center.chats_of(agent.name, CHAT)]}
        return None

    def post(self, path: str, name: str, session: HttpSession, base_url: str, mode: str) -> Mapping[str, Any] | None:
        """The answer to an operation of this name; None if it is none of ours. Raises WebServicesError."""
        if (found := _CHANNEL.fullmatch(path)) is not None:
            return self._on_channel(name, self._role(session), self._agent(found[1]), session, mode)
        if (found := _ONE_CHAT.fullmatch(path)) is not None:
            supervisor = self._role(session)
            if not self._options.intrude or name != "Intrude":
                raise NotFound(f"Operation {name} is not supported", http_status=404, status_code=6)
            self._intrude(supervisor, self._agent(found[1]), found[2], session, base_url)
            return {}
        return None

    def _on_channel(
        self, name: str, supervisor: str, agent: Agent, session: HttpSession, mode: str
    ) -> Mapping[str, Any]:
        if name == "CancelSupervisorMonitoring":
            if self._watches.pop((supervisor, agent.name), None) is None:
                raise ParameterInvalid(f"{agent.name} is not monitored", http_status=400, status_code=2)
            return {}
        if name != "Monitor" or mode not in ("AllChats", "NextChat"):
            raise ParameterInvalid(f"Operation {name} is not supported", http_status=400, status_code=2)
        self.asked += 1
        if self._options.supervisor_needs_session and not session.in_contact_center:
            raise OperationForbidden("No contact center session", http_status=403, status_code=5)
        self._refuse(agent.name)
        self._prune()
        if not self._options.monitor_again and (supervisor, agent.name) in self._watches:
            raise ParameterInvalid(f"{agent.name} is monitored already", http_status=400, status_code=2)
        self._watches[supervisor, agent.name] = _Watch(login=session.id, next_only=mode == "NextChat")
        return {}

    def _refuse(self, agent: str) -> None:
        refusal = self.refusals.pop(agent, None)
        if refusal is None:
            return
        if refusal.count > 1:
            left = Refusal(status=refusal.status, status_code=refusal.status_code, count=refusal.count - 1)
            self.refusals[agent] = left
        raise _error_of(refusal)(
            f"Monitor of {agent} is refused", http_status=refusal.status, status_code=refusal.status_code
        )

    def _intrude(self, supervisor: str, agent: Agent, chat_id: str, session: HttpSession, base_url: str) -> None:
        chat = self._center.chat_of(agent.name, chat_id)
        if chat.states[agent.name] is not ChatState.CHATTING:
            raise ParameterInvalid("Not possible in this state", http_status=400, status_code=2)
        if chat_id not in self._views[supervisor]:
            self._views[supervisor][chat_id] = (chat, session.id)
            for state in (ChatState.INVITED, ChatState.CHATTING):
                self._tell(NoticeKind.STATUS, chat, supervisor, state=state, base_url=base_url)

    def _role(self, session: HttpSession) -> str:
        if session.user not in self.users:
            raise OperationForbidden("The role supervisor is required", http_status=403, status_code=5)
        return str(session.user)

    def _agent(self, user_id: str) -> Agent:
        for agent in self._center.agents.values():
            if agent.user_id == user_id:
                return agent
        raise NotFound(f"User {user_id} was not found", http_status=404, status_code=6)

    def _everybody(self) -> list[Agent]:
        return [*self._center.agents.values(), *self.users.values()]

    def _page(self, users: list[Any], query: Mapping[str, str]) -> list[Any]:
        """All of them, or so many at most, from `offset` on, where the site has pages."""
        most = self._options.users_page
        if not most:
            return users
        offset = int(query.get("offset", "0"))
        return users[offset : offset + min(most, int(query.get("limit", str(most))))]

    def _user(self, one: Agent, base_url: str) -> dict[str, Any]:
        role = "ROLE_SUPERVISOR" if one.name in self.users else "ROLE_AGENT"
        return {
            "id": one.user_id,
            "userName": one.name,
            "firstName": one.nickname,
            "lastName": "Agent",
            "roles": [role],
            "enabled": True,
            "uri": f"{base_url}/api/v2/users/{one.user_id}",
        }

    def _group(self, name: str, members: tuple[str, ...], base_url: str) -> dict[str, Any]:
        group = {"id": f"group-{name}", "name": name, "uri": f"{base_url}/api/v2/groups/group-{name}"}
        if not self._options.groups_list_users:
            return group
        return group | {"users": [self._user(self._center.agents[one], base_url) for one in members]}


def _error_of(refusal: Refusal) -> type[WebServicesError]:
    forbidden = OperationForbidden
    kinds: dict[int, type[WebServicesError]] = {2: ParameterInvalid, 3: forbidden, 5: forbidden, 6: NotFound}
    return kinds.get(refusal.status_code, ServerFault)


def _chat(chat: Chat, agent: str, base_url: str) -> Mapping[str, Any]:
    return chat_resource(chat, chat.states[agent], base_url=base_url, user_data=chat.user_data)


def supervisors_of(options: SimulatorOptions) -> dict[str, Agent]:
    """The supervisors of a site, by their names."""
    return {one.name: one for one in map(_supervisor, range(1, options.supervisors + 1))}


def _supervisor(number: int) -> Agent:
    return Agent(name=f"supervisor{number}", nickname=f"Supervisor{number}", user_id=f"{0xF0000000 + number:032x}")
