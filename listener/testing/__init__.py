"""Doubles that keep the ports' contracts, for tests of everything above them and of sinks written elsewhere.

`MemoryJournal` passes the same suite as the real journals, `MemoryDatabase` with its connections that of the database
which replicas share. `RecordingSink` plays a script of outcomes, `ManualClock` moves when the test says so, and
`sample_event` makes events that look like real ones. `listener.testing.contract`, which needs pytest, holds the suite
that every kind of sink passes.
"""

from listener.testing.clock import ManualClock
from listener.testing.connection import MemoryConnection
from listener.testing.database import MemoryDatabase
from listener.testing.events import SAMPLE_MS, sample_event, sample_gap, sample_test
from listener.testing.journal import MemoryJournal
from listener.testing.sink import RecordingSink

__all__ = [
    "SAMPLE_MS",
    "ManualClock",
    "MemoryConnection",
    "MemoryDatabase",
    "MemoryJournal",
    "RecordingSink",
    "sample_event",
    "sample_gap",
    "sample_test",
]
