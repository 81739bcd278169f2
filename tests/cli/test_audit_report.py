"""`audit report`, as an auditor meets it."""

import csv
import gzip
import io
import json
from xml.etree import ElementTree as ET

import pytest

from listener.audit.chain import Head, chained
from listener.testing.events import sample_event
from support.reports import event, missed, said


@pytest.fixture
def audit(tmp_path):
    """The audit file of two days and its compressed predecessor, with repetitions, a gap and a test."""
    old = [said("2026-11-21T09:00:00Z", id="a"), said("2026-11-21T10:00:00Z", id="b", disposition="Callback")]
    new = [
        old[1],
        said("2026-11-22T09:00:00Z", id="c", chatId="chat-2", agents=("Bob",), disposition="=cmd()"),
        said("2026-11-22T09:00:01Z", id="d", change="unchanged"),
        missed("2026-11-22T23:30:00Z", "2026-11-22T23:31:00Z", id="g"),
        said("2026-11-22T23:31:01Z", id="e", agents=("Bob",), origin="reconciled"),
        event("test"),
    ]
    archive = tmp_path / "audit.jsonl.1.gz"
    archive.write_bytes(gzip.compress(b"".join(old)))
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(new))
    return [path, archive]


def sheet(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_answer_is_a_table_with_what_qualifies_it(invoke, audit):
    result = invoke("audit", "report", *audit)
    assert (result.exit_code, result.stderr) == (0, "")
    heading, *rows = result.stdout.partition("\n\n")[0].splitlines()
    assert heading.split()[:3] == ["when", "(UTC)", "chat"]
    assert [row.split()[0][:13] for row in rows] == [
        *("2026-11-21T09", "2026-11-21T10", "2026-11-22T09", "2026-11-22T23", "2026-11-22T23"),
    ]
    assert " ".join(rows[-1].split()).endswith("set - -> IssueResolved found by re-reading, near a gap")
    assert "left out      1 unchanged, 1 repeated, 1 test events" in result.stdout
    assert result.stdout.endswith("agent1: 1 of 60.000 s (1 min)\n")


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--from", "2026-11-22"), ["c", "g", "e"]),
        (("--to", "2026-11-22"), ["a", "b"]),
        (("--from", "2026-11-23", "--zone", "Europe/Berlin"), ["g", "e"]),
        (("--to", "2026-11-23", "--zone", "Europe/Berlin"), ["a", "b", "c"]),
        (("--from", "2026-11-21T09:00:00.001Z", "--to", "2026-11-21T10:00:00.001Z"), ["b"]),
        (("--chat", "chat-2"), ["c", "g"]),
        (("--agent", "Bob", "--to", "2026-11-22T12:00Z"), ["c"]),
        (("--code", "Call*"), ["b", "g"]),
        (("--account", "agent2"), []),
        (("--key", "Other"), ["g"]),
        (("--all", "--from", "2026-11-22", "--to", "2026-11-22T10:00"), ["c", "d"]),
    ],
)
def test_every_condition_narrows(invoke, audit, options, ids):
    result = invoke("audit", "report", *audit, *options, "--csv", "-")
    assert [row["id"] for row in sheet(result.stdout)] == ids
    assert result.stderr.startswith("dispositions  "), "the summary is not in the way"


def test_a_formula_is_defused_in_the_sheet_and_itself_in_json(invoke, audit):
    assert sheet(invoke("audit", "report", *audit, "--csv", "-").stdout)[2]["disposition"] == "'=cmd()"
    rows = [json.loads(line) for line in invoke("audit", "report", *audit, "--json").stdout.splitlines()]
    assert rows[2]["disposition"] == "=cmd()"
    assert [row["row"] for row in rows][-3:] == ["gap", "disposition", "summary"]


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("chat", {"chat-1", "chat-2"}),
        ("agent", {"Ann", "Bob"}),
        ("code", {""}),
        ("day", {"2026-11-21", "2026-11-22", "2026-11-23"}),
        (
            "hour",
            {"2026-11-21T10:00+01:00", "2026-11-21T11:00+01:00", "2026-11-22T10:00+01:00", "2026-11-23T00:00+01:00"},
        ),
    ],
)
def test_counts_are_by_what_is_asked_for(invoke, audit, by, groups):
    options = ("--by", by, "--zone", "Europe/Berlin")
    rows = sheet(invoke("audit", "report", *audit, *options, "--csv", "-").stdout)
    assert ({row["group"] for row in rows}, sum(int(row["events"]) for row in rows)) == (groups, 4)
    shown = invoke("audit", "report", *audit, *options).stdout
    assert shown.split()[0] == by
    assert "gaps          1, in which" in shown


def test_files_are_written_and_the_table_gives_way_to_the_summary(invoke, audit, tmp_path):
    files = ("--csv", "r.csv", "--html", "r.html", "--svg", "r.svg")
    result = invoke("audit", "report", *audit, *files, "--agent", "Bob", "--from", "2026-11-22")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "dispositions")
    assert [row["id"] for row in sheet((tmp_path / "r.csv").read_text())] == ["c", "g", "e"]
    page = (tmp_path / "r.html").read_text()
    for words in ("agent Bob", "2026-11-22 00:00 to 2026-11-22 23:31:01, UTC", "There are gaps", "found by re-reading"):
        assert words in page
    title = ET.parse(tmp_path / "r.svg").getroot()[0].text  # noqa: S314 - it is ours
    assert title == "Dispositions by code, 2026-11-22 00:00 to 2026-11-22 23:31:01, UTC"
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".part") == []


def test_what_cannot_be_read_is_named_and_the_report_comes_all_the_same(invoke, audit, tmp_path):
    audit[0].write_bytes(b"\x1b[31m{\n" + audit[0].read_bytes()[:-30])
    result = invoke("audit", "report", *audit, "--html", "r.html")
    assert result.exit_code == 1
    first, second, error = result.stderr.splitlines()
    assert first.startswith(f"audit report: {audit[0]}:1: no event of the file sink (")
    assert second.startswith(f"audit report: {audit[0]}:7: ")
    assert error == "error: 2 lines could not be read, and the report is without what they hold"
    assert result.stdout.startswith("dispositions  4")
    assert "2 lines could not be read" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (("--csv", "-", "--json"), 2, "both need standard output"),
        (("--from", "2026-11-22", "--to", "2026-11-22"), 2, "should be after --from"),
        (("--from", "soon"), 2, "is no time"),
        (("--zone", "Mars/Olympus"), 2, "knows no zone 'Mars/Olympus'"),
        (("--zone", "../../etc/passwd"), 2, "knows no zone"),
        (("--csv", "audit.jsonl"), 2, "should end in .csv"),
        (("--by", "moon"), 2, "moon"),
        (("none",), 1, "error: none: No such file or directory\n"),
        (("--svg", "none/r.svg"), 1, "error: --svg: cannot write none/r.svg: No such file or directory\n"),
    ],
)
def test_what_cannot_be_done_is_told_and_nothing_is_lost(invoke, audit, options, status, text):
    before = audit[0].read_bytes()
    result = invoke("audit", "report", *audit, *options)
    assert (result.exit_code, text in " ".join(result.stderr.split()) + "\n") == (status, True), result.stderr
    assert audit[0].read_bytes() == before


def test_a_chained_trail_is_read_like_any_other(invoke, tmp_path):
    plain = sample_event(1, sequence=1)
    line, _ = chained(plain.to_json(), len(plain.data), Head())
    (tmp_path / "trail.jsonl").write_bytes(line + b"\n")
    assert [row["id"] for row in sheet(invoke("audit", "report", "trail.jsonl", "--csv", "-").stdout)] == ["event-1"]


def test_an_empty_trail_is_an_empty_answer(invoke, tmp_path):
    (tmp_path / "audit.jsonl").write_bytes(b"")
    result = invoke("audit", "report", "audit.jsonl", "--html", "r.html", "--svg", "r.svg")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "dispositions  0")
    assert "the whole of the files" in (tmp_path / "r.html").read_text()


async def test_a_reader_that_goes_away_ends_it_quietly(start_shell, tmp_path):
    (tmp_path / "audit.jsonl").write_bytes(b"".join(said() for _ in range(5000)))
    shell = await start_shell("$PYTHON -m listener audit report audit.jsonl | head -1; echo ${PIPESTATUS[0]}")
    assert await shell.wait() == 0
    assert [line.split()[0] for line in shell.lines] == ["when", "0"]
