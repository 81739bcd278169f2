"""`journal copy` between files: what it says, and whom it leaves alone."""

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from listener.cli import journal_copy
from listener.journal.sqlite import SqliteJournal
from support.config import toml
from support.copies import holds, make_rich_journal
from support.postgresserver import PostgresServer


@pytest.fixture
async def rich(tmp_path):
    """The journal of `config`."""
    await make_rich_journal(tmp_path / "journal.db")
    return tmp_path / "journal.db"


def test_a_copy_says_what_both_sides_hold(invoke, rich, tmp_path):
    result = invoke("journal", "copy", "--from", rich, "--to", tmp_path / "new.db")
    assert (result.exit_code, result.stderr) == (0, "")
    first, second = result.stdout.splitlines()
    assert first.startswith("copied 23 events, last sequence 40; both sides: SHA-256 ")
    assert second == "with 10 last values, 6 dead letters, 2 sessions"
    assert holds(tmp_path / "new.db") == holds(rich)


def test_a_backup_is_restored_into_a_file_and_what_it_lacks_is_told(invoke, rich, tmp_path):
    result = invoke("journal", "copy", "--from", rich, "--to", tmp_path / "new.db", "--restore")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[2] == "the next start records as gaps what may be missing since its last event"
    found = invoke("journal", "verify", "--path", tmp_path / "new.db")
    assert found.exit_code == 0, found.stdout
    sinks = json.loads(invoke("journal", "stats", "--json", "--path", tmp_path / "new.db").stdout)["sinks"]
    assert max(sink["lagEvents"] for sink in sinks) <= 23, "sequences jump at a restore, and are not subtracted"
    into_a_database = ("--from", rich, "--to", "postgresql://127.0.0.1:9/x", "--restore")
    refused = invoke("journal", "copy", *into_a_database)
    assert refused.exit_code == 2
    assert "a database is restored by its own means" in refused.stderr


@pytest.mark.parametrize("left_out", ["--from", "--to"])
def test_the_side_that_is_left_out_is_the_journal_of_the_configuration(invoke, config, rich, tmp_path, left_out):
    before = holds(rich)
    if left_out == "--to":
        rich.rename(tmp_path / "old.db")
    given = ("--from", tmp_path / "old.db") if left_out == "--to" else ("--to", tmp_path / "new.db")
    result = invoke("journal", "copy", "--config", config, *given)
    assert (result.exit_code, result.stderr) == (0, "")
    assert holds(tmp_path / ("journal.db" if left_out == "--to" else "new.db")) == before


@pytest.mark.parametrize("words", [(), ("--from", "a.db"), ("--to", "a.db")])
def test_both_sides_must_be_known(invoke, words):
    result = invoke("journal", "copy", *words)
    assert result.exit_code == 2


async def test_a_daemon_on_either_side_is_named_and_not_disturbed(invoke, rich, tmp_path):
    owner = SqliteJournal(path=rich)
    await owner.open()
    result = await asyncio.to_thread(invoke, "journal", "copy", "--from", rich, "--to", tmp_path / "new.db")
    assert result.exit_code == 1
    assert "in use by another process (pid " in result.stderr
    await owner.close()


def test_damage_that_the_source_had_is_named_since_no_copy_tells_of_it(invoke, rich, tmp_path):
    with closing(sqlite3.connect(rich)) as connection:
        row = (1_795_305_600_000, "journal.db.damaged-1", 120, "[[0,60000]]", 0)
        connection.execute("INSERT INTO damage VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()
    result = invoke("journal", "copy", "--from", rich, "--to", tmp_path / "new.db")
    assert result.exit_code == 0
    assert "damaged at 2026-11-22T00:00:00.000Z, set aside as journal.db.damaged-1" in result.stderr


def test_on_a_terminal_a_bar_shows_how_far_it_is(invoke, rich, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(journal_copy.sys.stdout.__class__, "isatty", lambda self: True, raising=False)
    monkeypatch.setattr(journal_copy.Progress, "advance", lambda self, task, rows: drawn.append(rows))
    with journal_copy._progress(4) as told:
        told(3)
    assert drawn == [3]


@pytest.fixture
def server():
    with PostgresServer(fsync="off") as server:
        yield server


def written(folder, name, **journal):
    """A configuration with this journal."""
    tables = {"server": {"url": "http://127.0.0.1:9", "login": "none"}, "sinks": {"out": {"type": "stdout"}}}
    (folder / name).write_text(toml({**tables, "journal": journal}), encoding="utf-8")
    return folder / name


def test_a_journal_goes_into_a_database_and_back(invoke, rich, tmp_path, server):
    old = written(tmp_path, "old.toml", path=str(rich))
    new = written(tmp_path, "new.toml", url=server.address, username="admin", tls=False)
    result = invoke("journal", "copy", "--from", old, "--to", new)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("copied 23 events, last sequence 40; both sides: SHA-256 ")
    again = invoke("journal", "copy", "--from", old, "--to", new)
    assert again.exit_code == 1
    assert "holds a journal already" in again.stderr
    back = invoke("journal", "copy", "--config", new, "--from", server.address, "--to", tmp_path / "back.db")
    assert (back.exit_code, back.stderr) == (0, "")
    assert back.stdout == result.stdout
    assert holds(tmp_path / "back.db") == holds(rich)


def test_a_url_with_a_password_in_it_is_refused_without_showing_it(invoke, rich):
    result = invoke("journal", "copy", "--from", rich, "--to", "postgresql://admin:s3cret@127.0.0.1/x")
    assert result.exit_code == 78
    assert "journal.url" in result.stderr
    assert "s3cret" not in result.stderr
