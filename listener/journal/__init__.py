"""The durable store: one SQLite file, one writer thread with group commit, readers beside it."""

from listener.journal.sqlite import SqliteJournal

__all__ = ["SqliteJournal"]
