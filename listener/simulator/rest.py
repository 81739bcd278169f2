"""The REST API: me, the agent's chats, emails and calls, the version."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from listener.errors import UNDECODABLE, NotFound, ParameterInvalid, WebServicesError
from listener.simulator.logins import HttpSession, Logins
from listener.simulator.media import MEDIA, Medium
from listener.simulator.notices import chat_resource
from listener.simulator.operations import Desk, required
from listener.simulator.options import SimulatorOptions
from listener.simulator.state import Chat, ContactCenter
from listener.simulator.supervision import Supervision
from listener.simulator.wire import Call, Reply, json_reply

VERSION = "8.5.202.96"
_RESOURCES = {one.resource: one for one in MEDIA.values()}
_CHATS = re.compile(rf"/api/v2/me/({'|'.join(_RESOURCES)})(?:/([^/]+))?")


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
        self._subresources = ("", "*", *(MEDIA[name].resource for name in options.subresources))
        self._routes: dict[tuple[str, str], Callable[[Call, HttpSession], Mapping[str, Any]]] = {
            ("GET", "/api/v2/me"): self._me,
            ("POST", "/api/v2/me"): self._operate_me,
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
            chats = _CHATS.fullmatch(call.path)
            if chats is not None:
                return self._of_medium(call, session, _RESOURCES[chats[1]], chats[2])
            supervised = self._supervise(call, session)
            if supervised is not None:
                return supervised
        raise _not_found(call)

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
            user |= {"devices": [], "settings": self._settings()}
        for name, medium in _RESOURCES.items():
            if "*" in wanted or name in wanted:
                user[name] = self._chats(call, agent.name, medium)
        if unknown := [name for name in wanted if name not in self._subresources]:
            raise ParameterInvalid(f"Subresource {unknown[0]} is not supported", http_status=400, status_code=2)
        return {"user": user}

    def _settings(self) -> Mapping[str, Any]:
        told = {"interaction.disposition.key-name": self._options.disposition_key}
        return {"interaction-workspace": told if self._options.names_disposition_key else {}}

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
        succeeded = [channel for channel in channels if channel in MEDIA]
        failed = [channel for channel in channels if channel not in MEDIA]
        if not succeeded:
            raise ParameterInvalid("Parameter channels is not valid", http_status=400, status_code=2)
        session.in_contact_center |= bool(succeeded)
        if not failed:
            return {}
        return {
            "statusCode": 7,
            "statusMessage": "Operation partially succeeded",
            "succeeded": succeeded,
            "failed": failed,
        }

    def _of_medium(self, call: Call, session: HttpSession, medium: Medium, chat_id: str | None) -> Mapping[str, Any]:
        agent = str(session.user)
        if chat_id is None and call.method == "GET":
            return {medium.resource: self._chats(call, agent, medium)}
        if chat_id is None or call.method not in ("GET", "POST"):
            raise _not_found(call)
        key = medium.key(chat_id)
        if call.method == "GET":
            return {medium.container: _resource(call, agent, self._center.chat_of(agent, key))}
        body = _json_object(call)
        if agent in self._supervision.users and required(body, "operationName", str) == "Leave":
            self._supervision.leave(agent, key, base_url=call.base_url)
        else:
            self._desk.perform(agent, key, body, base_url=call.base_url)
        return {}

    def _supervise(self, call: Call, session: HttpSession) -> Mapping[str, Any] | None:
        if call.method == "GET":
            return self._supervision.get(call.path, call.query, session, call.base_url)
        if not call.path.startswith("/api/v2/users/"):
            return None
        body = _json_object(call)
        mode = str(body.get("supervisorMonitoringMode", "AllChats"))
        return self._supervision.post(call.path, required(body, "operationName", str), session, call.base_url, mode)

    def _chats(self, call: Call, agent: str, medium: Medium) -> list[Mapping[str, Any]]:
        if agent in self._supervision.users:
            return [
                chat_resource(chat, state, base_url=call.base_url, user_data=chat.user_data)
                for chat, state in self._supervision.chats_of(agent)
                if chat.medium is medium
            ]
        return [_resource(call, agent, chat) for chat in self._center.chats_of(agent, medium)]


def _not_found(call: Call) -> NotFound:
    return NotFound(f"{call.method} {call.path} was not found", http_status=404, status_code=6)


def _resource(call: Call, agent: str, chat: Chat) -> Mapping[str, Any]:
    return chat_resource(chat, chat.states[agent], base_url=call.base_url, user_data=chat.user_data)


def _json_object(call: Call) -> dict[str, Any]:
    try:
        return msgspec.json.decode(call.body, type=dict[str, Any])
    except UNDECODABLE as exc:
        raise ParameterInvalid("The body is not a JSON object", http_status=400, status_code=2) from exc
