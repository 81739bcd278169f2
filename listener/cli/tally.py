"""What the demo's simulator published against what the audit file holds."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from listener.cli.readable import Line
from listener.simulator import Published

Heard = tuple[str, str]
"""An account and a chat."""


class Tally(NamedTuple):
    """The comparison: how many notifications should have become events, and what is wrong with the events.

    Attributes:
        published: notifications with a disposition that reached a session, one for each session.
        events: disposition events in the file, duplicates not counted.
        missing: published, and not in the file.
        unexpected: in the file, and not published.
        duplicates: lines that brought an event of the journal again.
        out_of_order: chats of one account whose values stand in another order than they were published in.
        gaps: stretches in which something could have been missed.
    """

    published: int
    events: int
    missing: int
    unexpected: int
    duplicates: int
    out_of_order: int
    gaps: int

    @property
    def good(self) -> bool:
        """Everything is there, once, in order."""
        return not (self.missing or self.unexpected or self.duplicates or self.out_of_order)


def expected(ledger: Iterable[Published]) -> int:
    """How many events the published notifications have to become."""
    return sum(len(entry.heard_by) for entry in ledger if entry.key is not None)


def compare(ledger: Iterable[Published], lines: Sequence[Line]) -> Tally:
    """Hold the lines of the file against the simulator's ledger."""
    once = {(line.sequence, line.id): line for line in lines}
    dispositions = [line for line in once.values() if line.change != "gap"]
    wanted, found = _by_chat(_published(ledger)), _by_chat(_heard(dispositions))
    places = wanted.keys() | found.keys()
    return Tally(
        published=sum(map(len, wanted.values())),
        events=len(dispositions),
        missing=sum(_surplus(wanted.get(place, []), found.get(place, [])) for place in places),
        unexpected=sum(_surplus(found.get(place, []), wanted.get(place, [])) for place in places),
        duplicates=len(lines) - len(once),
        out_of_order=sum(_shuffled(wanted.get(place, []), found.get(place, [])) for place in places),
        gaps=len(once) - len(dispositions),
    )


def _published(ledger: Iterable[Published]) -> Iterator[tuple[Heard, Any]]:
    for entry in ledger:
        if entry.key is not None:
            for account in entry.heard_by:
                yield (account, entry.chat_id), entry.value or None  # empty is cleared


def _heard(lines: Iterable[Line]) -> Iterator[tuple[Heard, Any]]:
    for line in lines:
        yield (str(line.data.get("account")), line.subject), line.data.get("disposition")


def _by_chat(pairs: Iterable[tuple[Heard, Any]]) -> Mapping[Heard, list[Any]]:
    values: dict[Heard, list[Any]] = {}
    for place, value in pairs:
        values.setdefault(place, []).append(value)
    return values


def _surplus(these: list[Any], those: list[Any]) -> int:
    return (Counter(these) - Counter(those)).total()


def _shuffled(these: list[Any], those: list[Any]) -> bool:
    return these != those and Counter(these) == Counter(those)
