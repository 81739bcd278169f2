"""The chats that a session has brought something about, the latest of them."""

from collections.abc import Iterable

MOST_CHATS = 1000


class HeardChats:
    """A bounded set of chat ids: the one that was not heard of for longest goes first."""

    def __init__(self) -> None:
        self._chats: dict[str, int] = {}

    def since(self, chat_id: str) -> int | None:
        """When the chat was heard of for the first time (epoch milliseconds), None if it was not."""
        return self._chats.get(chat_id)

    def add(self, chat_ids: Iterable[str], at_ms: int) -> None:
        """Something was told of these, at this moment."""
        for chat_id in chat_ids:
            self._chats[chat_id] = self._chats.pop(chat_id, at_ms)
        while len(self._chats) > MOST_CHATS:
            del self._chats[next(iter(self._chats))]

    def clear(self) -> None:
        """Another session begins."""
        self._chats.clear()
