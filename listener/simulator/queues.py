"""What waits for one CometD session, with and without the acknowledgement extension."""

from collections import deque


class MessageQueue:
    """Encoded messages in order of their publication.

    Without acknowledgement a message is gone once taken. With it every message carries the number of the batch that
    was open when it came; a connect reply closes the batch, and a message stays until the client has acknowledged
    its batch. Numbers rise with every connect reply, also with empty ones.
    """

    def __init__(self, *, ack: bool) -> None:
        self.ack = ack
        self._batch = 1
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._fresh = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def fresh(self) -> bool:
        """Whether there is a message that has never been taken."""
        return self._fresh > 0

    def offer(self, message: bytes) -> None:
        """Add a message."""
        self._waiting.append((self._batch, message))
        self._fresh += 1

    def take(self) -> list[bytes]:
        """Everything for the next answer, oldest first; with acknowledgement including what was sent before."""
        messages = [message for _, message in self._waiting]
        self._fresh = 0
        if not self.ack:
            self._waiting.clear()
        return messages

    def close_batch(self) -> int:
        """The number for a connect reply; what is offered from now on belongs to the next batch."""
        self._batch += 1
        return self._batch - 1

    def acknowledge(self, batch: int) -> bool:
        """Forget everything up to this batch. True if something that was sent before must be sent again."""
        while self._waiting and self._waiting[0][0] <= batch:
            self._waiting.popleft()
        self._fresh = min(self._fresh, len(self._waiting))
        return len(self._waiting) > self._fresh
