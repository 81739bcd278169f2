"""Tells events that are wrong from a receiver that is: by how many different ones it refuses in a row."""

from collections.abc import Sequence

from listener.errors import Outcome, Park, Refusal, Reject
from listener.model.event import Event


class Refusals:
    """The refusals of one sink since it last took an event.

    Who refuses so many different events and takes none is wrong itself, whatever it says of each: then the sink is
    parked, and no event becomes a dead letter for it. Those of the row that were brought before the last call are
    letters by then; see `revived`. What is refused once more after a person has resumed the sink does not count again
    (`excuse`): it becomes a dead letter, so that no row of wrong events parks a sink for ever.

    Args:
        limit: how many park the sink; 0 for never.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._letters: list[str] = []
        self._row: frozenset[int] = frozenset()
        self._excused: frozenset[int] = frozenset()
        self._revived: tuple[str, ...] = ()

    def judge(self, batch: Sequence[Event], outcome: Outcome | None) -> Outcome | None:
        """The outcome of a call for the lane: as it is, or a Park in place of the refusal that makes the row full."""
        if outcome is None or outcome.delivered:
            self._letters.clear()
            self._row = self._excused = frozenset()
        if not isinstance(outcome, Reject) or not self._limit:
            return outcome
        row = [index for index in outcome.letters if index in outcome.in_a_row and self._is_new(batch[index])]
        if len(self._letters) + len(row) < self._limit:
            self._letters += [batch[index].id for index in row]
            return outcome
        judged = {index: refusal for index, refusal in outcome.letters.items() if index not in row}
        if judged:  # these are letters; the row comes again, and alone
            return _rejected(judged, outcome)
        return self._parked(batch, row, outcome)

    def _is_new(self, event: Event) -> bool:
        return event.sequence not in self._excused

    def excuse(self) -> None:
        """A person has resumed the sink, knowing of the row that parked it."""
        self._excused |= self._row
        self._letters.clear()

    def revived(self) -> tuple[str, ...]:
        """Ids of the events that are dead letters and are to come again, since the sink was parked; once."""
        ids, self._revived = self._revived, ()
        return ids

    def _parked(self, batch: Sequence[Event], row: Sequence[int], outcome: Reject) -> Park:
        total = len(self._letters) + len(row)
        self._row = frozenset(batch[index].sequence for index in row)
        self._revived = tuple(self._letters)
        text = f"{total} events in a row were refused, as by a receiver that is broken; the last time: {outcome.reason}"
        return Park(text, delivered=outcome.delivered, detail=outcome.detail)


def _rejected(letters: dict[int, Refusal], outcome: Reject) -> Reject:
    first = min(letters)
    refusal = letters.pop(first)
    return Reject(
        first,
        refusal.reason,
        rejected=letters,
        after_s=outcome.after_s,
        delivered=outcome.delivered,
        detail=refusal.answer,
    )
