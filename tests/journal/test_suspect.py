"""The note that a journal could not be read."""

import stat

import structlog

from listener.journal import suspect


def test_a_note_stays_until_it_is_taken_away(tmp_path):
    path = tmp_path / "journal.db"
    assert not suspect.is_noted(path)
    with structlog.testing.capture_logs() as logs:
        suspect.note(path, "event 3")
        suspect.note(path, "event 4")
    assert suspect.is_noted(path)
    assert stat.S_IMODE(suspect.note_of(path).stat().st_mode) == 0o600
    assert [line["event"] for line in logs] == ["journal_suspect"]
    suspect.forget(path)
    suspect.forget(path)
    assert not suspect.is_noted(path)


def test_a_disk_that_refuses_the_note_is_logged(tmp_path):
    with structlog.testing.capture_logs() as logs:
        suspect.note(tmp_path / "nowhere" / "journal.db", "event 3")
    assert [line["event"] for line in logs] == ["journal_suspicion_not_noted", "journal_suspect"]
