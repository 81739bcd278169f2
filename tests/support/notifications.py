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


# As the documentation's samples have them, by what the configuration calls the medium: an email without participants,
# whose whole user data holds nulls and integers, and a call whose parties have numbers and no nicknames.
INTERACTIONS: dict[str, dict[str, Any]] = {
    "chat": DOCUMENTED,
    "email": {
        "referenceId": 32,
        "email": {
            "userData": {"DispositionCode": "IssueResolved", "RRequestedSkills": None, "ServiceObjective": 0},
            "state": "Processing",
            "id": "000XJaBEC1HH000P",
            "uri": "http://localhost:8080/api/v2/me/emails/000XJaBEC1HH000P",
        },
        "notificationType": "PropertiesUpdated",
        "messageType": "EmailStateChangeMessage",
    },
    "sms": {
        "referenceId": 85,
        "smssession": {
            "userData": {"DispositionCode": "IssueResolved", "UserData1": 987654321, "RRequestedSkills": None},
            "state": "Chatting",
            "id": "0000Wa9CAM6W0012",
            "uri": "http://localhost:8080/api/v2/smssessions/0000Wa9CAM6W0012",
        },
        "notificationType": "PropertiesUpdated",
        "messageType": "SmssessionStateChangeMessage",
    },
    "facebook": {
        "referenceId": 34,
        "facebooksession": CHAT | {"uri": "http://localhost:8080/api/v2/facebooksession/0000Na9B26EF003M"},
        "notificationType": "PropertiesUpdated",
        "messageType": "FacebooksessionStateChangeMessage",
    },
    "openmedia": {
        "openmedia": {
            "id": "0001Va9CAM6W0013",
            "state": "Processing",
            "mediaType": "workitem",
            "userData": {"DispositionCode": "IssueResolved"},
        },
        "notificationType": "PropertiesUpdated",
        "messageType": "OpenMediaStateChangeMessage",
    },
    "voice": {
        "referenceId": 11,
        "call": {
            "id": "01A2B3C4",
            "state": "Established",
            "callUuid": "00GK2KNSHC0B",
            "connId": "006f0249a2c1e001",
            "deviceUri": "http://localhost:8080/api/v2/devices/74c9",
            "participants": [{"phoneNumber": "+41445550123", "formattedPhoneNumber": "044 555 01 23"}],
            "dnis": "5005",
            "callType": "Inbound",
            "userData": {"DispositionCode": "IssueResolved", "Attempts": 2, "Skill": None},
            "uri": "http://localhost:8080/api/v2/me/calls/01A2B3C4",
        },
        "notificationType": "AttachedDataChanged",
        "messageType": "CallStateChangeMessage",
    },
}
CONTAINERS = {
    name: next(key for key, value in sample.items() if isinstance(value, dict)) for name, sample in INTERACTIONS.items()
}


def interaction(media_type: str, *, within: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The sample of a medium with other fields, at its top and `within` its container. A field of `...` is left out."""
    container = CONTAINERS[media_type]
    changed = {**deepcopy(INTERACTIONS[media_type]), **fields}
    changed[container] = {k: v for k, v in {**changed[container], **(within or {})}.items() if v is not ...}
    return {k: v for k, v in changed.items() if v is not ...}
