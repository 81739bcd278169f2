"""What a journal tells that no daemon has, and the database that replicas share."""

from pathlib import Path

import pytest

from listener.daemon.at_rest import of_file
from listener.errors import JournalError
from listener.journal.sqlite import SqliteJournal
from listener.model.event import DeadLetter, JournalBatch, LaneState, SessionState, rfc3339
from listener.testing import SAMPLE_MS, sample_event

SESSION = SessionState(
    account="alice", url="u", topic="t", client_id="c", connection_type="long-polling", ack=1, seen_ms=SAMPLE_MS + 5000
)


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Two events, a session, a dead letter and a parked sink."""
    journal = SqliteJournal(path=tmp_path / "journal.db")
    await journal.open()
    await journal.append(JournalBatch(events=(sample_event(1), sample_event(2)), sessions=(SESSION,)))
    letter = DeadLetter(sink="crm", sequence=1, event_id="event-1", reason="422", attempts=1, at_ms=SAMPLE_MS)
    await journal.advance("crm", 1, [letter])
    await journal.store_lane_state(LaneState(sink="bi", parked="401", parked_ms=SAMPLE_MS))
    await journal.close()
    return tmp_path / "journal.db"


def test_nobody_listens_since_the_session_was_last_certain(path: Path):
    summary = of_file(path, {"crm": "webhook"}, None)
    assert [(one.kind, one.what, one.since) for one in summary.health] == [
        ("start", "no daemon is running: nobody listens", rfc3339(SAMPLE_MS + 5000)),
        ("sink", "sink bi is parked: 401", rfc3339(SAMPLE_MS)),
        ("deadLetters", "sink crm has 1 dead letter: 422", rfc3339(SAMPLE_MS)),
    ]
    assert (summary.ready, summary.build, summary.last_hour) == (False, None, None)
    assert (summary.open_gaps.count, summary.open_gaps.oldest_at) == (1, rfc3339(SAMPLE_MS + 5000))
    assert [(one.sink, one.kind, one.lag_events, one.dead_letters) for one in summary.sinks] == [
        ("bi", "", 2, 0),
        ("crm", "webhook", 1, 1),
    ]
    assert summary.journal.last_sequence == 2


def test_the_accounts_are_those_of_the_configuration_where_that_is_known(path: Path):
    summary = of_file(path, {}, {"bob"})
    assert (summary.accounts.total, summary.accounts.troubled, summary.open_gaps.count) == (1, 1, 0)
    assert summary.health[0].since == rfc3339(SAMPLE_MS), "the newest event"


def test_an_empty_journal_has_little_to_tell(tmp_path: Path):
    with pytest.raises(JournalError, match="no such file"):
        of_file(tmp_path / "none.db", {}, None)
