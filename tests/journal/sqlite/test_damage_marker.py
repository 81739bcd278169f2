"""The note that a journal could not be read."""

import stat

import structlog

from listener.journal.sqlite import damage_marker


def test_a_note_stays_until_it_is_taken_away(tmp_path):
    path = tmp_path / "journal.db"
    assert not damage_marker.exists(path)
    with structlog.testing.capture_logs() as logs:
        damage_marker.leave(path, "event 3")
        damage_marker.leave(path, "event 4")
    assert damage_marker.exists(path)
    assert stat.S_IMODE(damage_marker.path_of(path).stat().st_mode) == 0o600
    assert [line["event"] for line in logs] == ["journal_damage_found"]
    damage_marker.remove(path)
    damage_marker.remove(path)
    assert not damage_marker.exists(path)


def test_a_disk_that_refuses_the_note_is_logged(tmp_path):
    with structlog.testing.capture_logs() as logs:
        damage_marker.leave(tmp_path / "nowhere" / "journal.db", "event 3")
    assert [line["event"] for line in logs] == ["journal_damage_not_noted", "journal_damage_found"]
