"""The contact center behind the node: agents, their chats, emails and calls, and each agent's view of one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from listener.errors import NotFound, ParameterInvalid
from listener.simulator.media import CHAT, ChatState, Medium

FIRST_CHAT = "0000Na9B26EF003M"


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """An account of the site. `nickname` is what customers see."""

    name: str
    nickname: str
    user_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Participant:
    """A party of a chat; `agent` is the account behind it, None for the customer."""

    nickname: str
    type: str
    participant_id: str
    agent: str | None = None


@dataclass(kw_only=True, slots=True)
class Chat:
    """One chat, email or call. User data and participants are shared; each agent in it has a state of his own."""

    id: str
    medium: Medium = CHAT
    participants: list[Participant]
    states: dict[str, ChatState]
    user_data: dict[str, Any] = field(default_factory=dict)
    messages: int = 0

    @property
    def key(self) -> str:
        """What tells it from all others; for a chat its id. The center and its desk go by it."""
        return self.medium.key(self.id)

    @property
    def members(self) -> tuple[str, ...]:
        """The agents who hear of it, in the order of their arrival."""
        return tuple(self.states)


class ContactCenter:
    """All agents, and all chats, emails and calls that nobody has completed yet."""

    def __init__(self, *, agents: int) -> None:
        self.agents = {agent.name: agent for agent in map(_agent, range(1, agents + 1))}
        self._chats: dict[str, Chat] = {}
        self._chat_number = 3  # the documented chat ends in 003M
        self._party_number = 0

    def fresh_chat_id(self) -> str:
        """An id that no chat has had, in the form of the documented one."""
        self._chat_number += 1
        return f"0000Na9B26EF{self._chat_number:03X}M"

    def add_chat(
        self,
        chat_id: str,
        agents: Sequence[str],
        *,
        state: ChatState = ChatState.CHATTING,
        user_data: dict[str, Any] | None = None,
        medium: Medium = CHAT,
    ) -> Chat:
        """A chat of one customer and these agents; nobody is told. Raises NotFound, ParameterInvalid (id in use)."""
        chat = Chat(id=chat_id, medium=medium, participants=[], states={}, user_data=dict(user_data or {}))
        if chat.key in self._chats:
            raise ParameterInvalid(f"Chat {chat_id} exists", http_status=400, status_code=2)
        for name in agents:
            self.join(chat, name, state)
        chat.participants.append(self._customer(chat_id))
        self._chats[chat.key] = chat
        return chat

    def join(self, chat: Chat, agent: str, state: ChatState = ChatState.CHATTING) -> None:
        """Another agent comes into the chat; nobody is told. Raises NotFound."""
        chat.states[self.agent(agent).name] = state
        chat.participants.append(self._agent_party(chat.id, agent))

    def leave(self, chat: Chat, agent: str) -> None:
        """The agent is no longer a participant; he keeps the chat until he completes it."""
        chat.states[agent] = ChatState.LEFT
        chat.participants = [party for party in chat.participants if party.agent != agent]

    def forget(self, chat: Chat, agent: str) -> None:
        """The agent is done with the chat; the last one takes it with him."""
        del chat.states[agent]
        chat.participants = [party for party in chat.participants if party.agent != agent]
        if not chat.states:
            del self._chats[chat.key]

    def add_agent(self) -> Agent:
        """One more agent, who can log in from now on."""
        agent = _agent(len(self.agents) + 1)
        self.agents[agent.name] = agent
        return agent

    def agent(self, name: str) -> Agent:
        """The account of that name. Raises NotFound."""
        if name not in self.agents:
            raise NotFound(f"User {name} was not found", http_status=404, status_code=6)
        return self.agents[name]

    def chat_of(self, agent: str, chat_id: str) -> Chat:
        """A chat of this agent, by its key. Raises NotFound, also for chats of others: ids are no secret, chats are."""
        chat = self._chats.get(chat_id)
        if chat is None or agent not in chat.states:
            raise NotFound(f"Chat {chat_id} was not found", http_status=404, status_code=6)
        return chat

    def chats_of(self, agent: str, medium: Medium | None = None) -> list[Chat]:
        """The agent's chats, oldest first; of all media by default."""
        return [chat for chat in self._chats.values() if agent in chat.states and medium in (None, chat.medium)]

    @property
    def chats(self) -> int:
        """How many chats there are."""
        return len(self._chats)

    def _agent_party(self, chat_id: str, agent: str) -> Participant:
        first = chat_id == FIRST_CHAT and agent == "agent1"
        party = "009052C73228006D" if first else self._party_id()
        return Participant(nickname=self.agents[agent].nickname, type="Agent", participant_id=party, agent=agent)

    def _customer(self, chat_id: str) -> Participant:
        party = "009052C73223006B" if chat_id == FIRST_CHAT else self._party_id()
        return Participant(nickname="FirstL", type="Customer", participant_id=party)

    def _party_id(self) -> str:
        self._party_number += 1
        return f"009052C8{self._party_number:08X}"


def _agent(number: int) -> Agent:
    return Agent(
        name=f"agent{number}",
        nickname="TestName" if number == 1 else f"TestName{number}",
        user_id=f"{number:032x}",
    )
