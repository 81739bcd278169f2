"""The JSON of chats and of what GWS says about them, in the documented field order."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from listener.simulator.state import CAPABILITIES, Chat, ChatState, Participant


class NoticeKind(StrEnum):
    """`notificationType` of a ChatStateChangeMessage."""

    STATUS = "StatusChange"
    PARTICIPANTS = "ParticipantsUpdated"
    PROPERTIES = "PropertiesUpdated"


def chat_resource(chat: Chat, state: ChatState, *, base_url: str, user_data: Mapping[str, Any]) -> dict[str, Any]:
    """The chat as one agent sees it. A completed chat has only state, id and uri left."""
    uri = f"{base_url}/api/v2/chats/{chat.id}"
    if state is ChatState.COMPLETED:
        return {"state": state.value, "id": chat.id, "uri": uri}
    return {
        "participants": [_party(party) for party in chat.participants],
        "state": state.value,
        "id": chat.id,
        "capabilities": list(CAPABILITIES[state]),
        "userData": dict(user_data),
        "uri": uri,
    }


def chat_notice(
    kind: NoticeKind, chat: Mapping[str, Any], *, reference_id: int | None, generated_ms: int | None
) -> dict[str, Any]:
    """A ChatStateChangeMessage. `generated_ms` is epoch milliseconds, None for a site without metrics."""
    caused = {} if reference_id is None else {"referenceId": reference_id}
    return caused | {
        "chat": chat,
        "notificationType": kind.value,
        "messageType": "ChatStateChangeMessage",
        **_metrics(generated_ms),
    }


def message_log_notice(
    chat: Chat, text: str, *, sender: Participant, base_url: str, generated_ms: int | None
) -> dict[str, Any]:
    """A MessageLogUpdated: it names its chat only by the path of the message, and has no `chat` object."""
    message = {
        "index": chat.messages,
        "type": "Text",
        "text": text,
        "from": _party(sender),
        "uri": f"{base_url}/api/v2/chats/{chat.id}/messages/{chat.messages}",
    }
    return {
        "messages": [message],
        "notificationType": "NewMessages",
        "messageType": "MessageLogUpdated",
        **_metrics(generated_ms),
    }


def _party(party: Participant) -> dict[str, str]:
    return {"nickname": party.nickname, "type": party.type, "participantId": party.participant_id}


def _metrics(generated_ms: int | None) -> dict[str, Any]:
    if generated_ms is None:
        return {}
    return {"metrics": {"eventProcessing": {"serverGenerationTimestamp": generated_ms}}}
