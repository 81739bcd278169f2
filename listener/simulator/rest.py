"""The REST API: me, the agent's chats, the version."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from listener.errors import NotFound, ParameterInvalid, WebServicesError
from listener.simulator.logins import HttpSession, Logins
from listener.simulator.notices import chat_resource
from listener.simulator.operations import Desk, required
from listener.simulator.options import SimulatorOptions
from listener.simulator.state import Chat, ContactCenter
from listener.simulator.supervision import Supervision
from listener.simulator.wire import Call, Reply, json_reply

VERSION = "8.5.202.96"
_CHANNELS = ("chat", "email", "voice")
_ONE_CHAT = re.compile(r"/api/v2/me/chats/([^/]+)")


class Rest:
    """Answers everything below /api/v2 but the notifications; `{"statusCode": 0}` is success."""

    def __init__(
        self,
        *,
        center: ContactCenter,
        desk: Desk,
        logins: Logins,
        options: SimulatorOptions,
        supervision: Supervision,
    ) -> None:
        self._supervision = supervision
        self._center = center
        self._desk = desk
        self._logins = logins
        self._options = options
        self._routes: dict[tuple[str, str], Callable[[Call, HttpSession], Mapping[str, Any]]] = {
            ("GET", "/api/v2/me"): self._me,
            ("POST", "/api/v2/me"): self._operate_me,
            ("GET", "/api/v2/me/chats"): self._list_chats,
        }

    def handle(self, call: Call, session: HttpSession | None) -> Reply:
        """Answer a request. `session` is logged in, except for the version, which anybody may read."""
        if (call.method, call.path) == ("GET", "/api/v2/diagnostics/version"):
            return json_reply({"statusCode": 0, "version": VERSION})
        try:
            return json_reply({"statusCode": 0, **self._route(call, session)})
        except WebServicesError as refused:
            status = refused.http_status or 500
            return json_reply({"statusCode": refused.status_code, "statusMessage": str(refused)}, status=status)

    def _route(self, call: Call, session: HttpSession | None) -> Mapping[str, Any]:
        if session is not None:
            route = self._routes.get((call.method, call.path))
            if route is not None:
                return route(call, session)
            one_chat = _ONE_CHAT.fullmatch(call.path)
            if one_chat is not None and call.method == "GET":
                return self._show_chat(call, session, one_chat[1])
            if one_chat is not None and call.method == "POST":
                return self._operate_chat(call, session, one_chat[1])
            supervised = self._supervise(call, session)
            if supervised is not None:
                return supervised
        raise NotFound(f"{call.method} {call.path} was not found", http_status=404, status_code=6)

    def _me(self, call: Call, session: HttpSession) -> Mapping[str, Any]:
        agent = self._supervision.users.get(str(session.user)) or self._center.agent(str(session.user))
        user: dict[str, Any] = {
            "id": agent.user_id,
            "userName": agent.name,
            "firstName": agent.nickname,
            "lastName": "Agent",
            "employeeId": agent.name,
            "roles": ["ROLE_SUPERVISOR" if agent.name in self._supervision.users else "ROLE_AGENT"],
            "enabled": True,
            "uri": f"{call.base_url}/api/v2/users/{agent.user_id}",
            "path": f"/users/{agent.user_id}",
        }
        wanted = call.query.get("subresources", "").split(",")
        if "*" in wanted:
            user |= {"devices": [], "calls": [], "settings": self._settings()}
        if "*" in wanted or "chats" in wanted:
            user["chats"] = self._chats(call, agent.name)
        return {"user": user}

    def _settings(self) -> Mapping[str, Any]:
        return {"interaction-workspace": {"interaction.disposition.key-name": self._options.disposition_key}}

    def _operate_me(self, call: Call, session: HttpSession) -> Mapping[str, Any]:
        body = _json_object(call)
        match required(body, "operationName", str):
            case "StartContactCenterSession":
                return self._start_contact_center_session(session, required(body, "channels", list))
            case "EndContactCenterSession":
                self._logins.end(session)  # the agent's logout takes the HTTP session with it
                return {}
            case name:
                raise ParameterInvalid(f"Operation {name} is not supported", http_status=400, status_code=2)

    def _start_contact_center_session(self, session: HttpSession, channels: list[Any]) -> Mapping[str, Any]:
        succeeded = [channel for channel in channels if channel in _CHANNELS]
        failed = [channel for channel in channels if channel not in _CHANNELS]
        if not succeeded:
            raise ParameterInvalid("Parameter channels is not valid", http_status=400, status_code=2)
        session.in_contact_center |= "chat" in succeeded
        if not failed:
            return {}
        return {
            "statusCode": 7,
            "statusMessage": "Operation partially succeeded",
            "succeeded": succeeded,
            "failed": failed,
        }

    def _list_chats(self, call: Call, session: HttpSession) -> Mapping[str, Any]:
        return {"chats": self._chats(call, str(session.user))}

    def _show_chat(self, call: Call, session: HttpSession, chat_id: str) -> Mapping[str, Any]:
        agent = str(session.user)
        return {"chat": _resource(call, agent, self._center.chat_of(agent, chat_id))}

    def _operate_chat(self, call: Call, session: HttpSession, chat_id: str) -> Mapping[str, Any]:
        body = _json_object(call)
        if session.user in self._supervision.users and required(body, "operationName", str) == "Leave":
            self._supervision.leave(str(session.user), chat_id, base_url=call.base_url)
        else:
            self._desk.perform(str(session.user), chat_id, body, base_url=call.base_url)
        return {}

    def _supervise(self, call: Call, session: HttpSession) -> Mapping[str, Any] | None:
        if call.method == "GET":
            return self._supervision.get(call.path, call.query, session, call.base_url)
        if not call.path.startswith("/api/v2/users/"):
            return None
        body = _json_object(call)
        mode = str(body.get("supervisorMonitoringMode", "AllChats"))
        return self._supervision.post(call.path, required(body, "operationName", str), session, call.base_url, mode)

    def _chats(self, call: Call, agent: str) -> list[Mapping[str, Any]]:
        if agent in self._supervision.users:
            return [
                chat_resource(chat, state, base_url=call.base_url, user_data=chat.user_data)
                for chat, state in self._supervision.chats_of(agent)
            ]
        return [_resource(call, agent, chat) for chat in self._center.chats_of(agent)]


def _resource(call: Call, agent: str, chat: Chat) -> Mapping[str, Any]:
    return chat_resource(chat, chat.states[agent], base_url=call.base_url, user_data=chat.user_data)


def _json_object(call: Call) -> dict[str, Any]:
    try:
        return msgspec.json.decode(call.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ParameterInvalid("The body is not a JSON object", http_status=400, status_code=2) from exc
