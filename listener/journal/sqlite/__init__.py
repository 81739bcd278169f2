"""The durable store: one SQLite file, one writer with group commit, readers beside it.

Rules that are easy to break:

- A connection is given up after any I/O error. The next attempt opens anew beside the old connection, so that the
  shared WAL index stays valid. Then the whole log is checkpointed into the file and checked against the last sequence.
- SQLite's automatic checkpoint hides its errors: it is off, and the writer checkpoints.
- A sync counts only where the file system still takes changes directly afterwards (`durable.require_sound`).
- Every event read from the file is checked against its checksum. `JournalDamaged` is no `JournalError`: nothing waits
  for it, and the next start repairs.
- A cursor is never guessed: one that cannot be read is 0.

`docs/faults.md` describes full disks and damage as a user sees them.
"""

from listener.journal.sqlite.journal import SqliteJournal

__all__ = ["SqliteJournal"]
