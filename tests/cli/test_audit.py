"""`audit verify`, `audit key` and `audit report`, as a person and an auditor meet them."""

import csv
import gzip
import io
import json
from xml.etree import ElementTree as ET

import pytest
import typer

from listener.audit.chain import Head, chained, head_of
from listener.audit.notes import checkpoint_text, written
from listener.audit.reading import AuditFile
from listener.audit.signer import load_or_create
from listener.cli.audit import require_harmless
from listener.testing.events import sample_event
from support.reports import event, missed, said
from support.trail import trail

LINES, HEAD = trail(30)


@pytest.fixture
def audit_file(tmp_path):
    """An audit file with its predecessor, its key and a checkpoint of 25 records."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(LINES[20:]))
    path.with_name("audit.jsonl.20261122T093900Z.gz").write_bytes(gzip.compress(b"".join(LINES[:20])))
    keys = load_or_create(tmp_path / "audit.jsonl.key", name="host/audit", public=tmp_path / "audit.jsonl.pub")
    note = keys.signing.sign(checkpoint_text("host/audit", head_of(LINES[24][:-1]), "2026-11-22T09:39:00.123Z"))
    path.with_name("audit.jsonl.checkpoints").write_text(written([note]))
    return path


def test_a_trail_is_proven_with_what_lies_beside_it(invoke, audit_file, tmp_path):
    result = invoke("audit", "verify", *sorted(tmp_path.glob("audit.jsonl*")))
    assert result.exit_code == 0, result.stderr
    assert "proven: records 0 to 29 follow each other" in result.stdout
    assert "checkpoints signed by host/audit: 1, which cover all but the last 5 records" in result.stdout
    assert "the key was found beside the trail" in result.stdout


def test_what_was_done_is_named_with_file_and_line(invoke, audit_file, tmp_path):
    audit_file.write_bytes(audit_file.read_bytes().replace(b"IssueResolved", b"IssueReopened", 1))
    result = invoke("audit", "verify", *tmp_path.glob("audit.jsonl*Z.gz"), audit_file)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{audit_file}:1: edited: ")
    assert "error: the trail was altered: 1 findings" in result.stderr


def test_a_tail_that_was_cut_with_its_checkpoint_shows_against_the_copy_elsewhere(invoke, audit_file, tmp_path):
    copy = tmp_path / "elsewhere"
    copy.write_bytes((tmp_path / "audit.jsonl.checkpoints").read_bytes())
    (tmp_path / "audit.jsonl.checkpoints").unlink()
    audit_file.write_bytes(b"".join(LINES[20:23]))
    files = [*tmp_path.glob("audit.jsonl*Z.gz"), audit_file]
    assert "a tail that was cut off" in invoke("audit", "verify", *files).stdout
    key = invoke("audit", "key", audit_file).stdout.strip()
    result = invoke("audit", "verify", "--checkpoint", copy, "--pubkey", key, *files)
    assert result.exit_code == 1
    assert f"{audit_file}:3: cut: the trail ends with 23 records, 2 fewer than were signed" in result.stdout


def test_files_that_are_left_out_are_named_unless_it_is_meant_so(invoke, audit_file):
    result = invoke("audit", "verify", audit_file)
    assert (result.exit_code, "older files are missing" in result.stdout) == (1, True)
    assert invoke("audit", "verify", "--partial", audit_file).exit_code == 0


def test_the_verdict_can_be_had_as_json(invoke, audit_file, tmp_path):
    result = invoke("audit", "verify", "--json", *tmp_path.glob("audit.jsonl*Z.gz"), audit_file)
    verdict = json.loads(result.stdout)
    assert (verdict["proven"], verdict["findings"], verdict["size"], verdict["signed"]) == (True, [], 30, 25)
    assert verdict["hash"] == HEAD.hash.hex()
    assert verdict["key"].startswith("host/audit+")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["gone.jsonl"], "gone.jsonl: No such file or directory"),
        (["--checkpoint", "gone", "audit.jsonl"], "gone: No such file or directory"),
        (["--pubkey", "a+b+c", "audit.jsonl"], "is not an Ed25519 verifier key"),
        (["--checkpoint", "audit.jsonl", "audit.jsonl"], "no checkpoint in there"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(invoke, audit_file, words, text):
    result = invoke("audit", "verify", *words)
    assert result.exit_code == 1
    assert text in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_checkpoints_without_any_key_prove_nothing(invoke, audit_file, tmp_path):
    (tmp_path / "audit.jsonl.pub").unlink()
    result = invoke("audit", "verify", audit_file)
    assert (result.exit_code, "no key to verify them with" in result.stderr) == (1, True)


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
    assert first.startswith(f"audit report: {audit[0]}:1: not an event of the file sink (")
    assert second.startswith(f"audit report: {audit[0]}:7: ")
    assert error == "error: 2 lines could not be read; the report lacks them"
    assert result.stdout.startswith("dispositions  4")
    assert "2 lines could not be read" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (("--csv", "-", "--json"), 2, "both need standard output"),
        (("--from", "2026-11-22", "--to", "2026-11-22"), 2, "should be after --from"),
        (("--from", "soon"), 2, "is not a time"),
        (("--zone", "Mars/Olympus"), 2, "has no time zone 'Mars/Olympus'"),
        (("--zone", "../../etc/passwd"), 2, "has no time zone"),
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


def test_no_audit_file_is_overwritten(tmp_path):
    audit = tmp_path / "audit.csv"
    audit.write_text("")
    (tmp_path / "link.csv").symlink_to(audit)
    with AuditFile(audit) as file:
        require_harmless(tmp_path / "report.CSV", "--csv", (".csv",), [file])
        for path, why in (("audit.jsonl", "should end in .csv"), ("link.csv", "one of the files that are read")):
            with pytest.raises(typer.BadParameter, match=why):
                require_harmless(tmp_path / path, "--csv", (".csv",), [file])
