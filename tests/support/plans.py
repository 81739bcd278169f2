"""How SQLite goes about the statements of the journal: no table that grows may be walked from end to end."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from listener import journal
from listener.journal.sqlite import database

GROWING = ("event", "last_value", "dead_letter")
BY_NATURE = {
    "FROM event ORDER BY sequence ASC LIMIT 1": "takes the first row and walks no further",
    "FROM event ORDER BY sequence DESC LIMIT 1": "takes the last row and walks no further",
    "FROM dead_letter WHERE TRUE": "brings every letter, and is asked for just that",
    "DELETE FROM dead_letter WHERE TRUE": "deletes every letter",
    "UPDATE dead_letter SET replaying = 1 WHERE data IS NOT NULL AND TRUE": "marks every letter",
    "+ (SELECT count(*) FROM last_value) + (SELECT count(*) FROM dead_letter) copied": "counts what a copy has to hold",
    "FROM dead_letter WHERE data IS NOT NULL AND TRUE": "brings the event of every letter",
}
_JOURNAL = str(Path(journal.__file__).parent)
_VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "REPLACE")


class Plans:
    """The statements that code of the journal's package asked of the connections that an owner or a reader has."""

    def __init__(self) -> None:
        self.statements: set[str] = set()

    def note(self, statement: str) -> None:
        """The trace callback of a connection. What a test asks by itself is its own matter."""
        if statement.startswith(_VERBS) and sys._getframe(1).f_code.co_filename.startswith(_JOURNAL):
            self.statements.add(statement)

    def scans(self) -> list[tuple[str, str]]:
        """The statements that walk a whole table which grows, each with the step of its plan that does."""
        with closing(sqlite3.connect(":memory:")) as empty:
            empty.executescript(database.newest_schema())
            return [
                (statement, step)
                for statement in sorted(self.statements)
                if not any(known in statement for known in BY_NATURE)
                for step in steps_of(empty, statement)
                if step.startswith("SCAN ") and step.split()[1] in GROWING
            ]


def steps_of(connection: sqlite3.Connection, statement: str) -> list[str]:
    """The steps of a statement's plan."""
    return [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]


@contextmanager
def no_scans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Plans]:
    """Fails where a statement that is asked meanwhile walks a table that grows."""
    plans, connect = Plans(), database.connect

    def traced(*args: object) -> sqlite3.Connection:
        connection = connect(*args)
        connection.set_trace_callback(plans.note)
        return connection

    monkeypatch.setattr(database, "connect", traced)
    yield plans
    scans = plans.scans()
    assert scans == [], scans
