"""What differs between chats, emails and calls on the wire; all else is one thing to the contact center."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class ChatState(StrEnum):
    """The states of a chat, as one agent sees it; emails and calls have the same with other words (`Medium.words`)."""

    INVITED = "Invited"
    CHATTING = "Chatting"
    LEFT = "LeftChat"
    COMPLETED = "Completed"
    REVOKED = "Revoked"


class NoticeKind(StrEnum):
    """`notificationType` of a ChatStateChangeMessage; see `Medium.words` for others."""

    STATUS = "StatusChange"
    PARTICIPANTS = "ParticipantsUpdated"
    PROPERTIES = "PropertiesUpdated"


@dataclass(frozen=True, kw_only=True, slots=True)
class Medium:
    """One medium.

    Attributes:
        name: what a contact-center session calls its channel.
        topic: where its notifications go.
        container: the member of a notification that holds the interaction; in the plural the name of the resource.
        message_type: `messageType` of its notifications.
        words: states and kinds of notification that are called otherwise than in a chat.
        operations: those that it has, by the name of the chat operation that does the same.
        capabilities: what an agent may do, by state.
        tells_after_leaving: whether what happens once an agent has left is notified, and kept.
    """

    name: str
    topic: str
    container: str
    message_type: str
    words: Mapping[str, str]
    operations: Mapping[str, str]
    capabilities: Mapping[ChatState, tuple[str, ...]]
    tells_after_leaving: bool = True

    @property
    def resource(self) -> str:
        """Its name in a path."""
        return f"{self.container}s"

    def key(self, interaction_id: str) -> str:
        """What tells it from those of other media, which may have the same id; a chat is its id."""
        return interaction_id if self.name == "chat" else f"{self.name}:{interaction_id}"

    def word(self, state_or_kind: ChatState | NoticeKind) -> str:
        """As it is on the wire."""
        return self.words.get(state_or_kind.value, state_or_kind.value)


_USER_DATA = {name: name for name in ("AttachUserData", "UpdateUserData", "DeleteUserData")}

CHAT = Medium(
    name="chat",
    topic="/v2/me/chats",
    container="chat",
    message_type="ChatStateChangeMessage",
    words={},
    operations={
        **{name: name for name in ("Accept", "Reject", "Leave", "Complete", "SendMessage", "SetDisposition")},
        **_USER_DATA,
    },
    capabilities={
        ChatState.INVITED: ("Accept", "Reject"),
        ChatState.CHATTING: (
            "Transfer",
            "Complete",
            "Leave",
            "InFocus",
            "SendMessage",
            "SendStartTypingNotification",
            "SendStopTypingNotification",
        ),
        ChatState.LEFT: ("Complete",),
    },
)
EMAIL = Medium(
    name="email",
    topic="/v2/me/emails",
    container="email",
    message_type="EmailStateChangeMessage",
    words={ChatState.CHATTING: "Processing"},
    operations={**{name: name for name in ("Accept", "Reject", "Complete", "SetDisposition")}, **_USER_DATA},
    capabilities={
        ChatState.INVITED: ("Accept", "Reject"),
        ChatState.CHATTING: ("Transfer", "Complete", "SetDisposition", *_USER_DATA),
    },
)
VOICE = Medium(
    name="voice",
    topic="/v2/me/calls",
    container="call",
    message_type="CallStateChangeMessage",
    words={
        ChatState.INVITED: "Ringing",
        ChatState.CHATTING: "Established",
        ChatState.LEFT: "Released",
        NoticeKind.PROPERTIES: "AttachedDataChanged",
    },
    operations={
        "Answer": "Accept",
        "Release": "Leave",
        "Complete": "Complete",
        "SetCallDisposition": "SetDisposition",
        **_USER_DATA,
    },
    capabilities={
        ChatState.INVITED: ("Answer",),
        ChatState.CHATTING: ("Hold", "Release", "SetCallDisposition", *_USER_DATA),
        ChatState.LEFT: ("Complete", "SetCallDisposition"),
    },
    tells_after_leaving=False,
)
MEDIA = {one.name: one for one in (CHAT, EMAIL, VOICE)}
