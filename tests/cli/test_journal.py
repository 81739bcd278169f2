"""`journal`: figures, events, soundness and export, of a journal that another process may be writing."""

import asyncio
import json
import sqlite3

import pytest
from msgspec.structs import replace

from listener.cli import journal as journal_command
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.views import stats
from listener.model.event import Damage, JournalBatch, LaneState
from support.events import dead_letter, disposition_event, gap_event


@pytest.fixture
async def journal(tmp_path):
    """An open journal at `tmp_path / "journal.db"` with five events, as the daemon holds it."""
    journal = SqliteJournal(path=tmp_path / "journal.db")
    await journal.open()
    events = [disposition_event(0, chat=f"chat-{number % 2}") for number in range(4)]
    await journal.append(JournalBatch(events=(*events, gap_event(0))))
    await journal.advance("audit", 3)
    yield tmp_path / "journal.db"
    await journal.close()


def test_stats_tell_what_is_stored_and_how_far_each_sink_is(invoke, config, journal):
    result = invoke("journal", "stats", "--config", config)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if not line.startswith(("sink", "last")))
    assert rows["events"] == "5, 1 to 5"
    assert "sink audit    at 3, 2 to go\n" in result.stdout


async def test_stats_tell_what_is_in_the_way_of_a_sink(invoke, tmp_path):
    journal = SqliteJournal(path=tmp_path / "journal.db")
    await journal.open()
    await journal.append(JournalBatch(events=tuple(disposition_event(0) for _ in range(4))))
    await journal.advance("bi", 2)
    await journal.advance("crm", 1, [dead_letter(1, hour=9)])
    failing = LaneState(sink="bi", sequence=3, attempts=7, failing_ms=7_260_000, last_error="bi answered 503")
    await journal.store_lane_state(failing)
    await journal.store_lane_state(LaneState(sink="crm", parked="crm answered 401", parked_ms=1_795_305_600_000))
    await journal.store_lane_state(LaneState(sink="new", parked="no such topic", parked_ms=1_795_305_600_000))
    await asyncio.to_thread(journal_lines, invoke, tmp_path, LINES)
    await journal.advance("bi", 4)
    await asyncio.to_thread(journal_lines, invoke, tmp_path, ["sink bi       at 4, 0 to go", *LINES[2:]])
    await journal.close()


LINES = [
    "sink bi       at 2, 2 to go",
    "              failing at 3; when that was last stored, 7 attempts in 2 h 1 min: bi answered 503",
    "sink crm      at 1, 3 to go, 1 dead",
    "              parked since 2026-11-22T00:00:00.000Z: crm answered 401",
    "sink new      at 0, 4 to go",
    "              parked since 2026-11-22T00:00:00.000Z: no such topic",
]


def journal_lines(invoke, tmp_path, expected):
    result = invoke("journal", "stats", "--path", tmp_path / "journal.db")
    assert result.stdout.splitlines()[4:] == expected


def test_stats_tell_of_damage_and_of_the_file_that_was_set_aside(invoke, monkeypatch, journal):
    damage = Damage(at_ms=1_795_305_600_000, set_aside="journal.db.damaged-1", kept=120, stretches=((0, 60_000),))
    found = replace(stats(journal), damages=(damage,))
    monkeypatch.setattr(journal_command, "stats", lambda _path: found)
    assert invoke("journal", "stats", "--path", journal).stdout.splitlines()[-2:] == [
        "damaged       2026-11-22T00:00:00.000Z, 120 events kept, set aside as journal.db.damaged-1",
        "              events received from 1970-01-01T00:00:00.000Z to 1970-01-01T00:01:00.000Z are missing",
    ]


def test_stats_tell_of_a_journal_that_was_lost(invoke, monkeypatch, journal):
    found = replace(stats(journal), damages=(Damage(at_ms=60_000, set_aside="", kept=0, stretches=()),))
    monkeypatch.setattr(journal_command, "stats", lambda _path: found)
    assert invoke("journal", "stats", "--path", journal).stdout.splitlines()[-1] == (
        "lost          1970-01-01T00:01:00.000Z, 0 events kept"
    )


def test_stats_come_as_json_too(invoke, journal):
    found = json.loads(invoke("journal", "stats", "--path", journal, "--json").stdout)
    assert (found["events"], found["firstSequence"], found["lastSequence"]) == (5, 1, 5)
    (sink,) = found["sinks"]
    assert (sink["sink"], sink["cursor"], sink["lagEvents"], sink["parkedAt"]) == ("audit", 3, 2, None)


@pytest.mark.parametrize(
    ("options", "sequences"),
    [
        ((), [1, 2, 3, 4, 5]),
        (("-n", "2"), [4, 5]),
        (("--after", "1", "-n", "2"), [2, 3]),
        (("--chat", "chat-1", "-n", "1"), [4]),
        (("--chat", "chat-1", "--after", "0"), [2, 4]),
        (("--chat", "nobody"), []),
    ],
)
def test_show_picks_events(invoke, journal, options, sequences):
    result = invoke("journal", "show", "--path", journal, "--json", *options)
    assert result.exit_code == 0
    assert [int(json.loads(line)["sequence"]) for line in result.stdout.splitlines()] == sequences


def test_show_is_readable_without_json(invoke, journal):
    lines = invoke("journal", "show", "--path", journal).stdout.splitlines()
    assert lines[0].split()[1:4] == ["chat-0", "agent1", "set"]
    assert lines[4].split()[3] == "gap"


def test_a_sound_journal_is_verified_while_it_is_in_use(invoke, journal):
    result = invoke("journal", "verify", "--path", journal)
    assert (result.exit_code, result.stdout) == (0, "ok: 5 events, last sequence 5\n")


def test_each_fault_is_a_line_and_the_status_is_1(invoke, journal):
    with sqlite3.connect(journal) as connection:
        connection.execute("DELETE FROM event WHERE sequence = 2")
        connection.execute("UPDATE event SET data = 'x' WHERE sequence = 4")
    result = invoke("journal", "verify", "--path", journal)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == f"error: journal {journal}: 2 faults\n"


def test_export_writes_every_event_to_standard_output_or_to_a_file(invoke, journal, tmp_path):
    shown = invoke("journal", "export", "--path", journal).stdout
    assert [json.loads(line)["sequence"] for line in shown.splitlines()] == ["1", "2", "3", "4", "5"]
    out = tmp_path / "out.jsonl"
    assert invoke("journal", "export", "--path", journal, "--output", out).exit_code == 0
    assert out.read_text("utf-8") == shown
    assert not (tmp_path / "out.jsonl.part").exists()


def test_an_export_of_what_is_no_journal_any_more_says_so_after_what_it_could_read(invoke, tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"garbage" * 10_000)
    result = invoke("journal", "export", "--path", path, "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 1
    assert "every readable event was written" in result.stderr
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_an_export_that_cannot_be_written_names_the_option(invoke, journal, tmp_path):
    result = invoke("journal", "export", "--path", journal, "--output", tmp_path / "no" / "out")
    assert result.exit_code == 1
    assert result.stderr == f"error: --output: cannot write {tmp_path}/no/out: No such file or directory\n"


@pytest.mark.parametrize("command", ["stats", "show", "verify", "export"])
def test_a_journal_that_is_not_there_is_one_clear_line(invoke, tmp_path, command):
    result = invoke("journal", command, "--path", tmp_path / "none.db")
    assert (result.exit_code, result.stderr) == (1, f"error: journal {tmp_path}/none.db: no such file\n")


def test_exactly_one_of_path_and_configuration_is_needed(invoke, tmp_path):
    result = invoke("journal", "stats")
    assert (result.exit_code, "there is no configuration" in result.stderr) == (78, True)
    result = invoke("journal", "stats", "--path", tmp_path / "journal.db", "--config", tmp_path / "listener.toml")
    assert result.exit_code == 2
    assert "give either --config or --path" in result.stderr
