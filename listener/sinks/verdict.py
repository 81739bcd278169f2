"""Collects the outcome of each event of a delivery, and raises one outcome for the lane."""

from collections.abc import Sequence

from listener.errors import Park, Refusal, Reject, Retry
from listener.model.event import Event


class Verdict:
    """One call of `deliver`. Indexes are those of the batch.

    Attributes:
        delivered: the events that are durable at the destination.
    """

    def __init__(self) -> None:
        self.delivered: set[int] = set()
        self._refusals: dict[int, Refusal] = {}
        self._held: Park | Retry | None = None

    def refuse(self, index: int, reason: str, answer: str = "") -> None:
        """The destination can never take this event; `answer` is what it said, which may quote the event.

        Without an answer the sink has found that by itself, which says nothing of the destination's health.
        """
        self._refusals[index] = Refusal(reason, answer)

    def hold(self, outcome: Park | Retry) -> None:
        """Something has to come again. What needs a person stands before what passes, and the first before the next."""
        if self._held is None or (isinstance(outcome, Park) and not isinstance(self._held, Park)):
            self._held = outcome

    def raise_outcome(self) -> None:
        """Raise the most important outcome: Reject before Park before Retry; nothing if all is delivered.

        The lane learns at once of every event that is judged, and so brings none of them again; what holds the others
        up is still there in the next call.
        """
        delivered = frozenset(self.delivered)
        if self._refusals:
            others = dict(self._refusals)
            first = min(others)
            refusal = others.pop(first)
            last = max(delivered, default=-1)
            by_destination = frozenset(i for i, one in self._refusals.items() if one.answer and i > last)
            raise Reject(
                first,
                refusal.reason,
                rejected=others,
                delivered=delivered,
                detail=refusal.answer,
                in_a_row=by_destination,
            )
        if isinstance(self._held, Park):
            raise Park(self._held.reason, delivered=delivered, detail=self._held.detail)
        if self._held is not None:
            raise Retry(self._held.reason, delivered=delivered, detail=self._held.detail)


def chat_of(event: Event) -> tuple[str, str]:
    """Events that are alike in this keep their order. Gaps, whose subject is an account, stay apart from the chats."""
    return event.kind, event.subject


def waves(events: Sequence[Event]) -> list[list[int]]:
    """The first event of every chat, then the second of every chat that has one, and so on; as indexes.

    What is sent wave after wave never has two events of a chat on their way, so that one which fails is not overtaken
    by the next.
    """
    made: list[list[int]] = []
    seen: dict[tuple[str, str], int] = {}
    for index, event in enumerate(events):
        turn = seen.get(chat_of(event), 0)
        seen[chat_of(event)] = turn + 1
        if turn == len(made):
            made.append([])
        made[turn].append(index)
    return made
