"""The chats that a session has brought something about, the latest of them."""

from collections.abc import Iterable

MOST_CHATS = 1000


class SeenChats:
    """A bounded set of chat ids: the one that was not heard of for longest goes first."""

    def __init__(self) -> None:
        self._chats: dict[str, None] = {}

    def __contains__(self, chat_id: str) -> bool:
        return chat_id in self._chats

    def add(self, chat_ids: Iterable[str]) -> None:
        """Something was told of these."""
        for chat_id in chat_ids:
            self._chats.pop(chat_id, None)
            self._chats[chat_id] = None
        while len(self._chats) > MOST_CHATS:
            del self._chats[next(iter(self._chats))]

    def clear(self) -> None:
        """Another session begins."""
        self._chats.clear()
