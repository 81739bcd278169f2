"""One call of `deliver`: the batch by chat, what is delivered, what failed, and the outcome of it all."""

from collections.abc import Iterator, Sequence

from listener.errors import Outcome, Park, Refusal, Reject, Retry
from listener.model.event import Event
from listener.sinks.verdict import chat_of
from listener.sinks.webhook.failure import Failure


class Progress:
    """What becomes of a batch in one call.

    Args:
        events: the batch.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.delivered: set[int] = set()
        self.stopped = False
        self._failures: dict[int, Failure] = {}
        by_chat: dict[tuple[str, str], list[int]] = {}
        for index, event in enumerate(events):
            by_chat.setdefault(chat_of(event), []).append(index)
        self.chats = len(by_chat)
        self._remaining = iter(by_chat.values())

    def remaining(self) -> Iterator[list[int]]:
        """The indexes of chats that no worker has taken yet; shared by all workers."""
        return self._remaining

    def can_continue(self, index: int, failure: Failure) -> bool:
        """Note a failure, which may end the call for all chats; tells whether the chat's next event may be sent."""
        self._failures[index] = failure
        self.stopped = self.stopped or failure.affects_all
        return failure.kind is Reject

    def raise_outcome(self) -> None:
        """Raise what the lane must know first; nothing where every event is delivered.

        A time that was named holds for whatever is raised: the lane keeps it before it brings the rest.
        """
        delivered = frozenset(self.delivered)
        named = [failure.after_s for failure in self._failures.values() if failure.after_s is not None]
        after_s = max(named, default=None)
        if judged := self._of(Reject):
            first = min(judged)
            failure = judged.pop(first)
            others = {index: Refusal(other.text, other.detail) for index, other in judged.items()}
            raise Reject(
                first,
                failure.text,
                rejected=others,
                after_s=after_s if len(delivered) + len(others) + 1 < len(self.events) else None,
                delivered=delivered,
                detail=failure.detail,
            )
        for found in (self._of(Park), self._of(Retry)):
            if found:
                raise found[min(found)].outcome(delivered, after_s)

    def _of(self, kind: type[Outcome]) -> dict[int, Failure]:
        return {index: failure for index, failure in self._failures.items() if failure.kind is kind}
