"""The JSON of chats, emails and calls, and of what GWS says about them, in the documented field order."""

from collections.abc import Mapping
from typing import Any
from zlib import crc32

from listener.simulator.media import CHAT, EMAIL, VOICE, ChatState, Medium, NoticeKind
from listener.simulator.state import Chat, Participant


def chat_resource(chat: Chat, state: ChatState, *, base_url: str, user_data: Mapping[str, Any]) -> dict[str, Any]:
    """The chat as one agent sees it. A completed chat has only state, id and uri left."""
    medium = chat.medium
    uri = f"{base_url}/api/v2/{'' if medium is CHAT else 'me/'}{medium.resource}/{chat.id}"
    word = medium.word(state)
    if state is ChatState.COMPLETED:
        return {"state": word, "id": chat.id, "uri": uri}
    return {
        **({} if medium is EMAIL else {"participants": _parties(chat)}),
        "state": word,
        "id": chat.id,
        **(_call(chat, base_url) if medium is VOICE else {}),
        "capabilities": list(medium.capabilities.get(state, ())),
        "userData": dict(user_data),
        "uri": uri,
    }


def call_uuid(chat: Chat) -> str:
    """What SetCallDisposition names a call by."""
    return f"00GK2KNS{crc32(chat.id.encode()):08X}"


def _call(chat: Chat, base_url: str) -> dict[str, Any]:
    return {
        "callUuid": call_uuid(chat),
        "connId": f"006f0249{crc32(chat.id.encode()):08x}",
        "deviceUri": f"{base_url}/api/v2/devices/74c9",
        "dnis": "5005",
        "callType": "Inbound",
    }


def _parties(chat: Chat) -> list[dict[str, str]]:
    """Of a call the customer alone, who has a number and no name."""
    if chat.medium is VOICE:
        return [{"phoneNumber": "+15550100", "formattedPhoneNumber": "(555) 0100"}]
    return [_party(party) for party in chat.participants]


def chat_notice(
    kind: NoticeKind,
    chat: Mapping[str, Any],
    *,
    reference_id: int | None,
    generated_ms: int | None,
    medium: Medium = CHAT,
) -> dict[str, Any]:
    """A ChatStateChangeMessage, or its like. `generated_ms` is epoch milliseconds, None for a site without metrics."""
    caused = {} if reference_id is None else {"referenceId": reference_id}
    return caused | {
        medium.container: chat,
        "notificationType": medium.word(kind),
        "messageType": medium.message_type,
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
