"""What commands read of a journal, wherever that is: a file is read beside its daemon, a database is asked."""

from collections.abc import Callable, Iterator
from pathlib import Path

from listener.cli import shared
from listener.cli.shared import Shared
from listener.journal.sqlite import views
from listener.model.event import EVERY_DEAD_LETTER, DeadLetter, DeadLetterFilter, Event, JournalStats
from listener.model.filter import DeadLetterGroup, grouped

Journal = Path | Shared


def stats(journal: Journal) -> JournalStats:
    """Its figures. Raises JournalError, as the others."""
    return shared.stats(journal) if isinstance(journal, Shared) else views.stats(journal)


def show(journal: Journal, *, after: int = 0, chat: str | None = None, limit: int) -> list[Event]:
    """At most `limit` events above `after`, oldest first, of one chat or of all."""
    if isinstance(journal, Shared):
        return shared.show(journal, after=after, chat=chat, limit=limit)
    return views.show(journal, after=after, chat=chat, limit=limit)


def export(journal: Journal, *, on_damage: Callable[[str], None]) -> Iterator[bytes]:
    """Every event as a line of CloudEvents JSON, oldest first; `on_damage` is told what could not be read of a file."""
    return shared.export(journal) if isinstance(journal, Shared) else views.export(journal, on_damage=on_damage)


def verify(journal: Journal) -> list[str]:
    """Everything that is wrong with the journal, one sentence each; empty for a sound one."""
    return shared.verify(journal) if isinstance(journal, Shared) else views.verify(journal)


def dead_letters(journal: Journal, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetter]:
    """The dead letters that are meant, oldest first."""
    return shared.dead_letters(journal, which) if isinstance(journal, Shared) else views.dead_letters(journal, which)


def dead_letter_groups(journal: Journal, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetterGroup]:
    """The same, counted by sink and reason, the largest groups first."""
    if isinstance(journal, Shared):
        return grouped(shared.dead_letter_groups(journal, which))
    return grouped(views.dead_letter_groups(journal, which))


def dead_letter_events(journal: Journal, which: DeadLetterFilter) -> list[Event]:
    """Their events, in journal order, as the letters keep them."""
    if isinstance(journal, Shared):
        return shared.dead_letter_events(journal, which)
    return views.dead_letter_events(journal, which)
