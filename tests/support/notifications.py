"""Chat notifications as Web Services writes them: the documented one, and variations of it."""

import json
from copy import deepcopy
from typing import Any

AGENT = {"nickname": "TestName", "type": "Agent", "participantId": "009052C73228006D"}
CUSTOMER = {"nickname": "FirstL", "type": "Customer", "participantId": "009052C73223006B"}
CHAT = {
    "participants": [AGENT, CUSTOMER],
    "state": "Chatting",
    "id": "0000Na9B26EF003M",
    "capabilities": [
        "Transfer",
        "Complete",
        "Leave",
        "InFocus",
        "SendMessage",
        "SendStartTypingNotification",
        "SendStopTypingNotification",
    ],
    "userData": {"DispositionCode": "IssueResolved"},
    "uri": "http://localhost:8080/api/v2/chats/0000Na9B26EF003M",
}
DOCUMENTED = {
    "referenceId": 34,
    "chat": CHAT,
    "notificationType": "PropertiesUpdated",
    "messageType": "ChatStateChangeMessage",
}


def notification(*, chat: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The documented notification with other fields, at its top and in its chat. A field of `...` is left out."""
    changed = {**deepcopy(DOCUMENTED), **fields}
    changed["chat"] = {k: v for k, v in {**deepcopy(CHAT), **(chat or {})}.items() if v is not ...}
    return {k: v for k, v in changed.items() if v is not ...}


def with_data(**user_data: Any) -> dict[str, Any]:
    """The documented notification with this userData."""
    return notification(chat={"userData": user_data})


def encoded(message: Any) -> bytes:
    """As bytes of JSON; text is written as UTF-8."""
    return json.dumps(message, ensure_ascii=False).encode()
