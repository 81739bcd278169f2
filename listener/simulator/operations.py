"""The operations on chats, emails and calls: check, act, tell every agent who is in it."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from listener.errors import ParameterInvalid, ParameterMissing
from listener.simulator.media import CHAT, ChatState, Medium, NoticeKind
from listener.simulator.notices import call_uuid, chat_notice, chat_resource, message_log_notice
from listener.simulator.options import SimulatorOptions
from listener.simulator.state import Chat, ContactCenter, Participant
from listener.simulator.supervision import Supervision

_TALKING = (ChatState.CHATTING,)
_OPEN = (ChatState.CHATTING, ChatState.LEFT)  # a disposition can still be set after leaving


class Publish(Protocol):
    """Hand a notification to the agent's subscribed sessions; returns how many took it."""

    def __call__(self, agent: str, data: Mapping[str, Any], channel: str = ..., /) -> int:
        """Queue it; never waits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """One PropertiesUpdated as it went out.

    `key` and `value` are the disposition that it carries, `key` None if it carries none. `value` is as in the user
    data: a string, empty when cleared, or whatever a client has attached under that key. `agents` are all in the
    chat, `heard_by` those who had a subscribed session. `chat_id` is the `Chat.key`.
    """

    chat_id: str
    operation: str
    key: str | None
    value: Any
    reference_id: int
    agents: tuple[str, ...]
    heard_by: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """Who asked for an operation, under which number, and how he calls the server."""

    agent: str
    reference_id: int
    base_url: str


class Desk:
    """Carries out operations on chats, emails and calls, each by its `Chat.key`.

    Every method that acts for an agent raises NotFound for a chat that is not his, and ParameterInvalid in a state
    that does not allow the operation.
    """

    def __init__(
        self,
        *,
        center: ContactCenter,
        publish: Publish,
        options: SimulatorOptions,
        clock_ms: Callable[[], int],
        supervision: Supervision | None = None,
    ) -> None:
        self._center = center
        self._publish = publish
        self._options = options
        self._clock_ms = clock_ms
        self._supervision = supervision or Supervision(
            center=center, publish=publish, options=options, clock_ms=clock_ms, lives=lambda _: False, users={}
        )
        self._reference_id = options.first_reference_id - 1
        self.ledger: deque[Published] = deque(maxlen=options.ledger_limit)
        self._operations: dict[str, Callable[[Cause, str, Mapping[str, Any]], object]] = {
            "Accept": lambda cause, chat_id, _: self._accept(cause, chat_id),
            "Reject": lambda cause, chat_id, _: self._reject(cause, chat_id),
            "Leave": lambda cause, chat_id, _: self._leave(cause, chat_id),
            "Complete": lambda cause, chat_id, _: self._complete(cause, chat_id),
            "SendMessage": self._send_message,
            "SetDisposition": self._set_disposition,
            "AttachUserData": lambda *request: self._merge("AttachUserData", *request),
            "UpdateUserData": lambda *request: self._merge("UpdateUserData", *request),
            "DeleteUserData": self._delete_user_data,
        }

    def perform(self, agent: str, chat_id: str, body: Mapping[str, Any], *, base_url: str) -> Published | None:
        """Do what the body of `POST /api/v2/me/chats/{id}` asks, or of its like.

        Returns the PropertiesUpdated that it caused, None if it caused another notification. Raises
        ParameterMissing, ParameterInvalid, NotFound; nothing has changed then.
        """
        medium = self._center.chat_of(agent, chat_id).medium
        name = required(body, "operationName", str)
        operation = self._operations.get(medium.operations.get(name, ""))
        if operation is None:
            raise ParameterInvalid(f"Operation {name} is not supported", http_status=400, status_code=2)
        result = operation(self._cause(agent, base_url), chat_id, body)
        return result if isinstance(result, Published) else None

    def set_disposition(
        self, agent: str, chat_id: str, code: str, key: str | None = None, *, base_url: str
    ) -> Published | None:
        """SetDisposition, or SetCallDisposition; without `key` the server's own key is used."""
        named = {} if key is None else {"dispositionKey": key}
        return self._set_disposition(self._cause(agent, base_url), chat_id, {"disposition": code, **named})

    def invite(
        self, chat_id: str, agent: str, *, user_data: dict[str, Any], base_url: str, medium: Medium = CHAT
    ) -> str:
        """A customer's new chat is offered to the agent; its key. Raises NotFound, ParameterInvalid."""
        chat = self._center.add_chat(chat_id, [agent], state=ChatState.INVITED, user_data=user_data, medium=medium)
        self._report(NoticeKind.STATUS, chat, None, base_url=base_url)
        return chat.key

    def join(self, chat_id: str, agent: str, newcomer: str, *, base_url: str) -> None:
        """A second agent comes into the agent's chat: a conference."""
        chat = self._center.chat_of(agent, chat_id)
        self._center.join(chat, newcomer)
        self._report(NoticeKind.PARTICIPANTS, chat, None, base_url=base_url)
        self._supervision.arrived(chat, newcomer, base_url=base_url)

    def write(self, chat_id: str, agent: str, text: str, *, base_url: str) -> None:
        """The customer of the agent's chat writes a line."""
        chat = self._center.chat_of(agent, chat_id)
        customer = next(party for party in chat.participants if party.type == "Customer")
        self._log_message(chat, text, customer, base_url)

    def _accept(self, cause: Cause, chat_id: str) -> None:
        chat = self._allowed(cause, chat_id, (ChatState.INVITED,))
        chat.states[cause.agent] = ChatState.CHATTING
        self._report(NoticeKind.STATUS, chat, cause)
        self._supervision.arrived(chat, cause.agent, base_url=cause.base_url)

    def _reject(self, cause: Cause, chat_id: str) -> None:
        chat = self._allowed(cause, chat_id, (ChatState.INVITED,))
        chat.states[cause.agent] = ChatState.REVOKED
        self._report(NoticeKind.STATUS, chat, cause, only=(cause.agent,))
        self._center.forget(chat, cause.agent)

    def _leave(self, cause: Cause, chat_id: str) -> None:
        chat = self._allowed(cause, chat_id, _TALKING)
        self._center.leave(chat, cause.agent)
        self._report(NoticeKind.STATUS, chat, cause, only=(cause.agent,))
        others = tuple(agent for agent in chat.members if agent != cause.agent)
        self._report(NoticeKind.PARTICIPANTS, chat, cause, only=others)
        self._supervision.tell(NoticeKind.PARTICIPANTS, chat, base_url=cause.base_url)
        self._supervision.left(chat, base_url=cause.base_url)

    def _complete(self, cause: Cause, chat_id: str) -> None:
        chat = self._allowed(cause, chat_id, _OPEN)
        chat.states[cause.agent] = ChatState.COMPLETED
        self._report(NoticeKind.STATUS, chat, cause, only=(cause.agent,))
        self._center.forget(chat, cause.agent)
        self._report(NoticeKind.PARTICIPANTS, chat, cause)
        self._supervision.ended(chat, base_url=cause.base_url)

    def _send_message(self, cause: Cause, chat_id: str, body: Mapping[str, Any]) -> None:
        text = required(body, "message", str)
        chat = self._allowed(cause, chat_id, _TALKING)
        sender = next(party for party in chat.participants if party.agent == cause.agent)
        self._log_message(chat, text, sender, cause.base_url)

    def _set_disposition(self, cause: Cause, chat_id: str, body: Mapping[str, Any]) -> Published | None:
        code = required(body, "disposition", str)
        key = required(body, "dispositionKey", str) if "dispositionKey" in body else self._options.disposition_key
        chat = self._allowed(cause, chat_id, _OPEN)
        if body.get("callUuid", call_uuid(chat)) != call_uuid(chat):
            raise ParameterInvalid("Parameter callUuid is not valid", http_status=400, status_code=2)
        # Of a chat the documented sample has this key alone, of an email all.
        full = self._options.full_user_data is True or (
            self._options.full_user_data is None and chat.medium is not CHAT
        )
        if self._is_over(chat, cause):
            return None
        chat.user_data[key] = code
        return self._properties_updated("SetDisposition", chat, cause, changed=[key], full=full, key=key)

    def _is_over(self, chat: Chat, cause: Cause) -> bool:
        """Whether what the agent does now reaches nobody: of a released call a code goes to reporting alone."""
        return chat.states[cause.agent] is ChatState.LEFT and not chat.medium.tells_after_leaving

    def _merge(self, operation: str, cause: Cause, chat_id: str, body: Mapping[str, Any]) -> Published | None:
        user_data = required(body, "userData", dict)
        chat = self._allowed(cause, chat_id, _OPEN)
        if self._is_over(chat, cause):
            return None
        chat.user_data.update(user_data)
        full = self._options.full_user_data is not False
        return self._properties_updated(operation, chat, cause, changed=list(user_data), full=full)

    def _delete_user_data(self, cause: Cause, chat_id: str, body: Mapping[str, Any]) -> Published | None:
        keys = required(body, "keys", list)
        chat = self._allowed(cause, chat_id, _OPEN)
        if self._is_over(chat, cause):
            return None
        for key in keys:
            chat.user_data.pop(str(key), None)
        full = self._options.full_user_data is not False
        return self._properties_updated("DeleteUserData", chat, cause, changed=[], full=full)

    def _properties_updated(
        self, operation: str, chat: Chat, cause: Cause, *, changed: Sequence[str], full: bool, key: str | None = None
    ) -> Published:
        user_data = chat.user_data if full else {name: chat.user_data[name] for name in changed}
        heard_by = self._report(NoticeKind.PROPERTIES, chat, cause, user_data=user_data)
        key = key or self._options.disposition_key
        entry = Published(
            chat_id=chat.key,
            operation=operation,
            key=key if key in user_data else None,
            value=user_data.get(key),
            reference_id=cause.reference_id,
            agents=tuple(agent for agent in chat.members if self._hears(chat, agent, NoticeKind.PROPERTIES)),
            heard_by=heard_by,
        )
        self.ledger.append(entry)
        return entry

    def _report(
        self,
        kind: NoticeKind,
        chat: Chat,
        cause: Cause | None,
        *,
        base_url: str = "",
        only: Sequence[str] | None = None,
        user_data: Mapping[str, Any] | None = None,
    ) -> tuple[str, ...]:
        """Tell the agents of the chat; who caused it gets the referenceId, the others do not. Returns who heard."""
        heard = []
        generated_ms = self._generated_ms()
        shown = chat.user_data if user_data is None else user_data
        told = [agent for agent in (chat.members if only is None else only) if self._hears(chat, agent, kind)]
        for agent in told:
            resource = chat_resource(
                chat, chat.states[agent], base_url=cause.base_url if cause else base_url, user_data=shown
            )
            reference_id = cause.reference_id if cause and cause.agent == agent else None
            notice = chat_notice(
                kind, resource, reference_id=reference_id, generated_ms=generated_ms, medium=chat.medium
            )
            if self._publish(agent, notice, chat.medium.topic):
                heard.append(agent)
        if only is None:
            heard += self._supervision.tell(
                kind, chat, base_url=cause.base_url if cause else base_url, user_data=user_data
            )
        return tuple(heard)

    @staticmethod
    def _hears(chat: Chat, agent: str, kind: NoticeKind) -> bool:
        """Who has released a call hears of its state, and of nothing else."""
        return kind is NoticeKind.STATUS or chat.medium.tells_after_leaving or chat.states[agent] is ChatState.CHATTING

    def _log_message(self, chat: Chat, text: str, sender: Participant, base_url: str) -> None:
        chat.messages += 1
        notice = message_log_notice(chat, text, sender=sender, base_url=base_url, generated_ms=self._generated_ms())
        for agent, state in chat.states.items():
            if state is ChatState.CHATTING:
                self._publish(agent, notice, chat.medium.topic)

    def _allowed(self, cause: Cause, chat_id: str, states: Sequence[ChatState]) -> Chat:
        chat = self._center.chat_of(cause.agent, chat_id)
        state = chat.states[cause.agent]
        if state not in states:
            word = chat.medium.word(state)
            raise ParameterInvalid(f"Not possible in state {word}", http_status=400, status_code=2)
        return chat

    def _cause(self, agent: str, base_url: str) -> Cause:
        self._reference_id += 1
        return Cause(agent=agent, reference_id=self._reference_id, base_url=base_url)

    def _generated_ms(self) -> int | None:
        return self._clock_ms() if self._options.server_time else None


def required(body: Mapping[str, Any], name: str, kind: type) -> Any:
    """A parameter of the request. Raises ParameterMissing (1) or ParameterInvalid (2: another JSON type)."""
    if name not in body:
        raise ParameterMissing(f"Parameter {name} is missing", http_status=400, status_code=1)
    if not isinstance(body[name], kind):
        raise ParameterInvalid(f"Parameter {name} is not valid", http_status=400, status_code=2)
    return body[name]
