"""What a supervisor's notifications say beside dispositions: whose chat it is, and which chats it is in still."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from listener.errors import UNDECODABLE
from listener.model.media import CHAT, MediaType
from listener.webservices.media import MEDIA
from listener.webservices.notifications import AGENT, DecodedBatch, NotificationDecoder
from listener.webservices.repeats import SeenChats
from listener.webservices.shapes import ChatId
from listener.webservices.supervisor import Person

_CHAT = MEDIA[CHAT]
MOST_CHATS = 20_000
REVOKED = "Revoked"
_ENDED = (REVOKED, "Completed", "JoinFailed", "LeftChat")


class _Party(msgspec.Struct, frozen=True, gc=False):
    nickname: str | None = None
    type: str | None = None


class _ChatSeen(msgspec.Struct, frozen=True, gc=False):
    id: ChatId = ""
    state: str | None = None
    participants: list[_Party] | None = None


class _Note(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    message_type: str = ""
    notification_type: str = ""
    chat: _ChatSeen | None = None


_note = msgspec.json.Decoder(_Note).decode
_chat = msgspec.json.Decoder(_ChatSeen).decode


class _Known:
    """One chat: whose it is, who of the team ever was in it, whether any agent is, and whether the supervisor is."""

    __slots__ = ("agent", "ever", "has_agent", "is_heard")

    def __init__(self) -> None:
        self.agent: str | None = None
        self.ever: frozenset[str] = frozenset()
        self.has_agent = True
        self.is_heard = True


class TeamChats:
    """The chats of a supervisor, bounded: the least recently heard is forgotten first.

    Attributes:
        told: whether the server was ever seen to tell what is set (PropertiesUpdated).
        kept: whether it was ever seen to do so in a chat that its agent had left.
        revoked: in how many chats the supervisor's state became Revoked since somebody last looked.
        ended_untold: whether a chat has ended, and nothing was ever told until then.
    """

    def __init__(self) -> None:
        self._chats: dict[str, _Known] = {}
        self._names: dict[str, str | None] = {}
        self.told = False
        self.kept = False
        self.revoked = 0
        self.ended_untold = False

    def know(self, people: Iterable[Person]) -> None:
        """These are the team; a name that two of them go by is nobody's."""
        names: dict[str, str | None] = {}
        for one in people:
            full = f"{one.first_name or ''} {one.last_name or ''}".strip()
            for name in {one.name, one.first_name, full} - {None, ""}:
                names[str(name)] = one.name if name not in names else None
        self._names = names

    def agent_of(self, chat_id: str) -> str | None:
        """Whose chat it is: of the team the only agent in it, or that ever was; None where that is not certain."""
        known = self._chats.get(chat_id)
        return None if known is None else known.agent

    def joined(self, chat_id: str, agent: str) -> None:
        """The supervisor has come into a chat of this agent."""
        known = self._known(chat_id)
        known.agent, known.is_heard = known.agent or agent, True

    def heard(self) -> dict[str, str | None]:
        """The chats that the supervisor is in, as far as it was told, and whose they are."""
        return {chat_id: one.agent for chat_id, one in self._chats.items() if one.is_heard}

    def lost(self, chat_ids: Iterable[str]) -> None:
        """The supervisor is in these no more."""
        for chat_id in chat_ids:
            if (known := self._chats.get(chat_id)) is not None:
                known.is_heard = False

    def take(self, payloads: Sequence[Raw | bytes]) -> None:
        """What notifications say; none of it matters so much that a spoilt one would be refused for it."""
        for payload in payloads:
            try:
                note = _note(payload)
            except UNDECODABLE:
                continue
            if note.message_type in _CHAT.message_types and note.chat is not None and note.chat.id:
                self._take(note.chat, note.notification_type)

    def take_read(self, payloads: Sequence[Raw | bytes]) -> None:
        """What the supervisor's chats say when they are read."""
        for payload in payloads:
            try:
                chat = _chat(payload)
            except UNDECODABLE:
                continue
            if chat.id and chat.state not in _ENDED:
                known = self._known(chat.id)
                known.is_heard = True
                self._attribute(known, chat.participants)

    @staticmethod
    def ids_of(chats: Sequence[Raw | bytes]) -> frozenset[str]:
        """Which chats these are; those that cannot be read are left out."""
        found = set()
        for one in chats:
            try:
                found.add(_chat(one).id)
            except UNDECODABLE:
                continue
        return frozenset(found)

    def _take(self, chat: _ChatSeen, kind: str) -> None:
        known = self._known(chat.id)
        if kind == _CHAT.properties:
            self.told = True
            self.kept = self.kept or not known.has_agent
        if chat.state in _ENDED:
            self.revoked += chat.state == REVOKED and known.is_heard
            self.ended_untold = self.ended_untold or not self.told
            known.is_heard = False
            return
        known.is_heard = True
        self._attribute(known, chat.participants)

    def _attribute(self, known: _Known, participants: Sequence[_Party] | None) -> None:
        if participants is None:
            return
        agents = [one.nickname for one in participants if one.type == AGENT]
        known.has_agent = bool(agents)
        team = {name for nickname in agents if (name := self._names.get(nickname or "")) is not None}
        known.ever |= team
        if team or len(known.ever) > 1:
            known.agent = next(iter(team)) if len(team) == 1 else None

    def _known(self, chat_id: str) -> _Known:
        known = self._chats.pop(chat_id, None) or _Known()
        self._chats[chat_id] = known
        if len(self._chats) > MOST_CHATS:
            del self._chats[next(iter(self._chats))]
        return known


class TeamSeen(SeenChats):
    """What a supervisor's session was told of which chats.

    As long as nothing was ever told, a value that is read was not told either, though the chat was heard of.
    """

    most_chats = MOST_CHATS

    def __init__(self, chats: TeamChats) -> None:
        super().__init__()
        self._team = chats

    def __contains__(self, chat_id: str) -> bool:
        return self._team.told and super().__contains__(chat_id)


class TeamDecoder(NotificationDecoder):
    """A supervisor's decoder: as another, and each observation names whose chat it is.

    Args:
        decoder: the other.
        chats: learns from the same notifications.
    """

    def __init__(self, decoder: NotificationDecoder, chats: TeamChats) -> None:
        self._decoder = decoder
        self._chats = chats

    def decode(self, payloads: Sequence[Raw | bytes], *, account: str, received_ms: int) -> DecodedBatch:
        """As NotificationDecoder's."""
        self._chats.take(payloads)
        return self._named(self._decoder.decode(payloads, account=account, received_ms=received_ms))

    def decode_read(
        self, payloads: Sequence[Raw | bytes], *, account: str, received_ms: int, media_type: MediaType = CHAT
    ) -> DecodedBatch:
        """As NotificationDecoder's."""
        if media_type == CHAT:
            self._chats.take_read(payloads)
        return self._named(
            self._decoder.decode_read(payloads, account=account, received_ms=received_ms, media_type=media_type)
        )

    def _named(self, decoded: DecodedBatch) -> DecodedBatch:
        agent_of = self._chats.agent_of
        decoded.observations = [replace(one, agent=agent_of(one.chat_id)) for one in decoded.observations]
        return decoded
