"""`audit verify`, `audit key` and `audit report`, as a person and an auditor meet them."""

import csv
import gzip
import io
import json
import os
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer

from listener.audit.chain import Head, chained, head_of
from listener.audit.groups import By
from listener.audit.notes import checkpoint_text, written
from listener.audit.reading import AuditFile
from listener.audit.signer import load_or_create
from listener.audit.verdict import Kind, Proof, Trust
from listener.cli.audit import require_harmless
from listener.testing.events import sample_event
from support.events import disposition_event
from support.reports import event, linked, missed, said
from support.trail import trail

LINES, HEAD = trail(30)
EMPTY = (
    "verdict       not proven: there are no lines",
    "coverage      not known: the files hold nothing about this period",
)
ROOT = Path(__file__).parents[2]


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


def pattern(audit_file):
    """What a shell makes of `audit.jsonl*`: key and checkpoints too."""
    return sorted(audit_file.parent.glob("audit.jsonl*"))


@pytest.fixture
def pubkey(audit_file):
    """The public key, as it was kept elsewhere."""
    return audit_file.with_name("audit.jsonl.pub").read_text().strip()


@pytest.fixture
def label(pubkey):
    """Its name and id."""
    return "+".join(pubkey.split("+")[:2])


def test_what_a_trusted_key_has_signed_is_proven_and_the_rest_is_told(invoke, audit_file, pubkey, label):
    result = invoke("audit", "verify", *pattern(audit_file), "--pubkey", pubkey)
    assert result.exit_code == 1
    assert f"records 0 to 24, {audit_file}.20261122T093900Z.gz:1 to {audit_file}:5: signed by {label}" in result.stdout
    assert f"records 25 to 29, {audit_file}:6 to {audit_file}:10: chained, not signed (5 lines)" in result.stdout
    assert "5 lines from" in result.stderr
    assert "--max-unsigned" in result.stderr


@pytest.mark.parametrize(("allowed", "status"), [(4, 1), (5, 0)])
def test_a_tail_without_a_signature_is_accepted_as_far_as_that_is_asked_for(
    invoke, audit_file, pubkey, allowed, status
):
    arguments = ("--pubkey", pubkey, "--max-unsigned", allowed)
    result = invoke("audit", "verify", *pattern(audit_file), *arguments)
    assert (result.exit_code, "\nproven: every line but 5, which were accepted, is signed by " in result.stdout) == (
        status,
        not status,
    )


def test_a_key_that_lies_beside_the_files_proves_nothing_unless_somebody_names_it(invoke, audit_file):
    result = invoke("audit", "verify", *pattern(audit_file), "--max-unsigned", 5)
    assert result.exit_code == 1
    assert "found beside the files, where whoever can change them can exchange it" in result.stdout
    assert "the key lies beside the files" in result.stderr
    named = ("--pubkey", f"{audit_file}.pub")
    assert invoke("audit", "verify", *pattern(audit_file), "--max-unsigned", 5, *named).exit_code == 0


def test_a_key_that_nobody_may_read_is_left_unread(invoke, audit_file, monkeypatch):
    """As a user of another account meets the pattern of the README; root may read everything, so access is denied."""
    key = audit_file.with_name("audit.jsonl.key")
    key.chmod(0)
    readable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(key) and readable(path, mode))
    files = pattern(audit_file)
    assert key in files
    result = invoke("audit", "verify", *files, "--max-unsigned", 5, "--pubkey", f"{audit_file}.pub")
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_chain_made_anew_without_the_key_is_not_proven(invoke, audit_file, pubkey, label):
    """Whoever has the files but not the key changes a value, recomputes the chain and empties the checkpoints."""
    audit_file.with_name("audit.jsonl.20261122T093900Z.gz").unlink()
    head, forged = Head(), []
    for number in range(30):
        made = disposition_event(number + 1, value="Forged" if number == 3 else "IssueResolved")
        line, head = chained(made.to_json(), len(made.data), head)
        forged.append(line + b"\n")
    audit_file.write_bytes(b"".join(forged))
    for deed in (lambda notes: notes.write_text(""), lambda notes: notes.unlink()):
        deed(audit_file.with_name("audit.jsonl.checkpoints"))
        result = invoke("audit", "verify", *pattern(audit_file), "--pubkey", pubkey, "--max-unsigned", 1000)
        assert result.exit_code == 1
        assert f"records 0 to 29, {audit_file}:1 to {audit_file}:30: chained, not signed (30 lines)" in result.stdout
        assert result.stderr == f"error: not proven: nothing is signed: there is no checkpoint by {label}\n"


@pytest.mark.parametrize("content", [b"", b"any text\nof two lines\n", disposition_event(1).to_json() + b"\n"])
def test_what_has_no_chain_is_not_proven(invoke, tmp_path, pubkey, content):
    path = tmp_path / "other.jsonl"
    path.write_bytes(content)
    for arguments in ((), ("--pubkey", pubkey), ("--pubkey", pubkey, "--max-unchained", 9, "--max-unsigned", 9)):
        result = invoke("audit", "verify", path, *arguments)
        assert (result.exit_code, "not proven: " in result.stderr) == (1, True)
        assert content == b"" or f"{path}:1: inserted: no line of this file is a record" in result.stdout


def test_a_file_of_unchained_lines_beside_the_trail_is_found(invoke, audit_file, pubkey):
    added = audit_file.with_name("audit.jsonl.20261127T000000Z")
    added.write_bytes(disposition_event(3, value="Forged").to_json() + b"\n")
    result = invoke("audit", "verify", *pattern(audit_file), "--pubkey", pubkey, "--max-unsigned", 5)
    assert result.exit_code == 1
    assert f"{added}:1: inserted: no line of this file is a record of the chain: 1" in result.stdout


def test_what_was_done_is_named_with_file_and_line(invoke, audit_file, tmp_path):
    audit_file.write_bytes(audit_file.read_bytes().replace(b"IssueResolved", b"IssueReopened", 1))
    result = invoke("audit", "verify", *tmp_path.glob("audit.jsonl*Z.gz"), audit_file)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{audit_file}:1: edited: ")
    assert "error: not proven: the trail was altered: 1 finding; " in result.stderr


def test_a_tail_that_was_cut_with_its_checkpoint_shows_against_the_copy_elsewhere(invoke, audit_file, pubkey):
    copy = audit_file.with_name("elsewhere")
    copy.write_bytes(audit_file.with_name("audit.jsonl.checkpoints").read_bytes())
    audit_file.with_name("audit.jsonl.checkpoints").unlink()
    audit_file.write_bytes(b"".join(LINES[20:23]))
    assert invoke("audit", "key", audit_file).stdout.strip() == pubkey
    result = invoke("audit", "verify", "--checkpoint", copy, "--pubkey", pubkey, *pattern(audit_file))
    assert result.exit_code == 1
    assert f"{audit_file}:3: cut: the trail ends with 23 records, 2 fewer than checkpoint 1 of " in result.stdout


def test_files_that_are_left_out_are_named_unless_it_is_meant_so(invoke, audit_file, pubkey):
    asked = ("--pubkey", pubkey, "--max-unsigned", 5, audit_file)
    result = invoke("audit", "verify", *asked)
    assert (result.exit_code, "older files are missing" in result.stdout) == (1, True)
    assert invoke("audit", "verify", "--partial", *asked).exit_code == 0


def test_the_verdict_can_be_had_as_json(invoke, audit_file, pubkey, label):
    result = invoke("audit", "verify", "--json", "--pubkey", pubkey, *pattern(audit_file))
    verdict = json.loads(result.stdout)
    assert (verdict["proven"], verdict["findings"], verdict["size"]) == (False, [], 30)
    assert (verdict["signed"], verdict["unsigned"]) == (25, 5)
    assert verdict["hash"] == HEAD.hash.hex()
    assert [(one["key"], one["trust"], one["signed"]) for one in verdict["keys"]] == [(label, "given", 25)]
    assert [(one["proof"], one["firstRecord"], one["lastRecord"]) for one in verdict["stretches"]] == [
        ("signed", 0, 24),
        ("chained", 25, 29),
    ]
    assert verdict["stretches"][1]["from"] == {"file": str(audit_file), "line": 6}


@pytest.mark.parametrize("deed", ["nothing", "strip", "edit", "notes"])
def test_the_json_is_as_its_schema_says(invoke, audit_file, pubkey, deed):
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    if deed == "strip":
        audit_file.write_bytes(disposition_event(3).to_json() + b"\n")
    if deed == "edit":
        audit_file.write_bytes(audit_file.read_bytes().replace(b"IssueResolved", b"IssueReopened"))
    if deed == "notes":
        audit_file.with_name("audit.jsonl.checkpoints").write_text("nonsense\n\n\u2014 b AAAAAAAA\n\n")
    result = invoke("audit", "verify", "--json", "--pubkey", pubkey, *pattern(audit_file))
    schema = json.loads((ROOT / "docs" / "audit-verdict.schema.json").read_text())
    jsonschema_rs.meta.validate(schema)
    assert [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(json.loads(result.stdout))] == []
    enums = {"kind": Kind, "proof": Proof, "trust": Trust}
    text = json.dumps(schema)
    assert all(json.dumps(list(map(str, enum))) in text for enum in enums.values()), "no value is left out"


@pytest.mark.parametrize(
    "words", [(), ("--all", "--zone", "Europe/Berlin"), ("--by", "agent"), ("--by", "day"), ("--from", "2026-12-01")]
)
@pytest.mark.parametrize("deed", ["nothing", "strip", "strange"])
def test_the_json_of_a_report_is_as_its_schema_says(invoke, audit_file, pubkey, deed, words):
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    whole = [
        said(agents=(), agent="agent7", disposition=None, change="cleared", origin="reconciled", referenceId=7),
        said(change="unchanged"),
        missed("2026-11-22T09:30:00Z", "2026-11-22T09:39:00Z"),
        event("test"),
        event("later"),
    ]
    if deed == "strip":
        audit_file.write_bytes(b"")
    if deed == "strange":
        audit_file.write_bytes(audit_file.read_bytes() + b"".join([*whole, b"nonsense\n"]))
    result = invoke("audit", "report", "--json", "--pubkey", pubkey, *words, *pattern(audit_file))
    schema = json.loads((ROOT / "docs" / "audit-report.schema.json").read_text())
    jsonschema_rs.meta.validate(schema)
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    rows = list(map(json.loads, result.stdout.splitlines()))
    assert [row["row"] for row in (*rows[:2], rows[-1])] == ["verdict", "coverage", "summary"]
    assert [error.message for row in rows for error in validator.iter_errors(row)] == []
    assert validator.is_valid(rows[0] | {"more": 1}) is False
    assert json.dumps(list(map(str, Proof))) in json.dumps(schema)
    assert json.dumps(list(map(str, By))) in json.dumps(schema)


def test_what_a_supervisor_heard_is_found_by_the_agent_whose_chat_it_is(invoke, tmp_path):
    path = tmp_path / "audit.jsonl"
    gap = missed("2026-11-22T09:30:00Z", "2026-11-22T09:31:00Z", account="boss")
    lines = [
        said(account="boss", agent="agent7", id="a"),
        said(account="boss", agent=None, id="b"),
        gap.replace(b'"reason"', b'"agent":"agent7","reason"'),
    ]
    path.write_bytes(b"".join(lines))
    rows = list(map(json.loads, invoke("audit", "report", "--json", "--agent", "agent7", path).stdout.splitlines()))[
        2:-1
    ]
    assert [(row["row"], row["agent"]) for row in rows] == [("disposition", "agent7"), ("gap", "agent7")]
    shown = invoke("audit", "report", path).stdout
    assert shown.count("boss for agent7") == 2
    assert invoke("audit", "report", "--csv", "-", path).stdout.count(',"agent7"') == 2


def test_a_line_that_is_not_signed_takes_no_signed_event_s_place(invoke, audit_file, pubkey):
    """Whoever can write the files could hide an event behind a line of his own with its id, in an older file."""
    known = json.loads(LINES[3])
    forged = said("2020-01-01T00:00:00Z", id=known["id"], disposition="Forged")
    audit_file.with_name("audit.jsonl.20200101T000000Z").write_bytes(forged)
    result = invoke("audit", "report", "--json", "--pubkey", pubkey, *pattern(audit_file))
    rows = list(map(json.loads, result.stdout.splitlines()))
    assert [(row["disposition"], row["proof"]) for row in rows if row.get("id") == known["id"]] == [
        (known["data"]["disposition"], "signed")
    ]
    assert (rows[-1]["repeated"], result.exit_code) == (1, 1)


def test_a_report_that_was_asked_for_proof_and_has_none_says_so_by_its_status(invoke, audit_file, pubkey):
    files = pattern(audit_file)
    told = invoke("audit", "report", *files, "--pubkey", pubkey)
    assert (told.exit_code, "5 lines from" in told.stderr, "30: 30 set" in told.stdout) == (1, True, True)
    assert invoke("audit", "report", *files, "--pubkey", pubkey, "--max-unsigned", 5).exit_code == 0
    assert invoke("audit", "report", *files).exit_code == 0, "nobody asked"


def test_a_report_says_that_older_records_are_not_there(invoke, audit_file, pubkey):
    words = ("--pubkey", pubkey, "--max-unsigned", 5, "--html", "r.html")
    told = invoke("audit", "report", audit_file, *words)
    assert "the 20 records before them are not in these files" in told.stdout.splitlines()[0]
    assert "what lies outside of it is not known" in told.stdout
    assert "The whole period is known" not in (audit_file.parent / "r.html").read_text()


def test_a_file_that_is_named_twice_is_read_once(invoke, audit_file, pubkey):
    words = ("--pubkey", pubkey, "--max-unsigned", 5)
    assert invoke("audit", "verify", *pattern(audit_file), audit_file, *words).exit_code == 0


def test_outside_of_what_the_files_hold_no_gap_on_record_means_nothing(invoke, audit_file):
    files = pattern(audit_file)
    told = [
        invoke("audit", "report", *words, *files).stdout
        for words in (("--from", "2027-01-01"), ("--by", "code", "--from", "2027-01-01"), ())
    ]
    assert ["none on record" in text for text in told] == [False, False, True]
    assert told[0].splitlines()[-1] == "gaps          not known: the files hold nothing about this period"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["gone.jsonl"], "gone.jsonl: No such file or directory"),
        (["--checkpoint", "gone", "audit.jsonl"], "gone: No such file or directory"),
        (["--pubkey", "a+b+c", "audit.jsonl"], "is not an Ed25519 verifier key"),
        (["--checkpoint", "empty", "audit.jsonl"], "no checkpoint in there"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(invoke, audit_file, words, text):
    audit_file.with_name("empty").touch()
    result = invoke("audit", "verify", *words)
    assert result.exit_code == 1
    assert text in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_checkpoints_without_any_key_prove_nothing(invoke, audit_file, tmp_path):
    (tmp_path / "audit.jsonl.pub").unlink()
    result = invoke("audit", "verify", audit_file)
    assert (result.exit_code, "there is no checkpoint by a trusted key" in result.stderr) == (1, True)


def test_a_new_key_is_made_beside_the_old_one_and_waits(invoke, audit_file, pubkey):
    made = invoke("audit", "key", "--rotate", audit_file)
    assert made.exit_code == 0, made.stderr
    successor = made.stdout.strip()
    assert successor.split("+")[0] == pubkey.split("+")[0]
    assert successor != pubkey == invoke("audit", "key", audit_file).stdout.strip()
    draft = audit_file.with_name("audit.jsonl.key.next")
    assert draft.stat().st_mode & 0o777 == 0o600
    assert draft in pattern(audit_file), "the pattern fits it, and it is left out"
    asked = ("--pubkey", pubkey, "--max-unsigned", 5)
    assert invoke("audit", "verify", *pattern(audit_file), *asked).exit_code == 0
    again = invoke("audit", "key", "--rotate", audit_file)
    assert (again.exit_code, "there is a new key already" in again.stderr) == (1, True)


def test_a_key_can_be_replaced_only_where_there_is_one(invoke, audit_file):
    audit_file.with_name("audit.jsonl.key").unlink()
    result = invoke("audit", "key", "--rotate", audit_file)
    assert (result.exit_code, "audit.jsonl.key: No such file" in result.stderr) == (1, True)


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
    lines, head = linked([*old, *new])
    archive = tmp_path / "audit.jsonl.1.gz"
    archive.write_bytes(gzip.compress(b"".join(lines[:2])))
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(lines[2:]))
    keys = load_or_create(tmp_path / "audit.jsonl.key", name="host/audit", public=tmp_path / "audit.jsonl.pub")
    note = keys.signing.sign(checkpoint_text("host/audit", head, "2026-11-22T23:32:00.000Z"))
    path.with_name("audit.jsonl.checkpoints").write_text(written([note]))
    return [path, archive]


def sheet(text):
    """The rows, without what stands before the heading."""
    return list(csv.DictReader(line for line in io.StringIO(text) if not line.startswith("#")))


def test_the_answer_is_a_table_with_what_qualifies_it(invoke, audit):
    result = invoke("audit", "report", *audit)
    assert (result.exit_code, result.stderr) == (0, "")
    opening, table, _ = result.stdout.split("\n\n")
    assert [line[:12].strip() for line in opening.splitlines()] == ["verdict", "coverage", ""]
    heading, *rows = table.splitlines()
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
    assert result.stderr.startswith("verdict  "), "the summary is not in the way"


def test_a_formula_is_defused_in_the_sheet_and_itself_in_json(invoke, audit):
    assert sheet(invoke("audit", "report", *audit, "--csv", "-").stdout)[2]["disposition"] == "'=cmd()"
    rows = [json.loads(line) for line in invoke("audit", "report", *audit, "--json").stdout.splitlines()]
    assert rows[4]["disposition"] == "=cmd()"
    assert [row["row"] for row in rows] == [
        "verdict",
        "coverage",
        *["disposition"] * 3,
        "gap",
        "disposition",
        "summary",
    ]


def test_a_strange_line_does_not_keep_the_others_from_being_told(invoke, audit, tmp_path):
    """A text that is no UTF-8, a number that no output has, and a time behind which a calendar ends."""
    text, number, late = b"\xff", 2**63, "9999-06-01T00:00:00.000Z"
    lines = [said(id="x").replace(b"IssueResolved", text), said(id="y", referenceId=number), said(late, id="z")]
    with audit[0].open("ab") as file:
        file.writelines(lines)
    for words in ((), ("--json",), ("--csv", "-"), ("--by", "day"), ("--html", tmp_path / "report.html")):
        result = invoke("audit", "report", *audit, *words)
        assert (result.exit_code, "altered: 3 findings" in result.stderr) == (1, True)
        assert "audit.jsonl:7-9: not an event" in result.stderr


def edited(path):
    path.write_bytes(path.read_bytes().replace(b'"Bob"', b'"Eve"', 1))


def cut(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def forged(path):
    path.with_name("audit.jsonl.20261127T000000Z").write_bytes(said("2026-11-27T00:00:00Z", disposition="Forged"))


@pytest.mark.parametrize("deed", [edited, cut, forged])
def test_whatever_was_done_to_the_files_stands_at_the_beginning_of_every_form(invoke, audit, tmp_path, deed):
    deed(audit[0])
    files = sorted({*audit, *tmp_path.glob("audit.jsonl.2*")})
    options = ("--pubkey", tmp_path / "audit.jsonl.pub", "--html", "r.html", "--csv", "r.csv")
    told = invoke("audit", "report", *files, *options)
    assert told.exit_code == 1
    assert told.stderr.startswith("error: not proven: the trail was altered: ")
    listed, rows = invoke("audit", "report", *files), invoke("audit", "report", *files, "--json").stdout.splitlines()
    page, rows_csv = (tmp_path / "r.html").read_text(), (tmp_path / "r.csv").read_text()
    for text in (told.stdout.splitlines()[0], listed.stdout.splitlines()[0], rows_csv.splitlines()[0], page):
        assert "the trail was altered" in text
    assert (json.loads(rows[0])["row"], json.loads(rows[0])["proven"]) == ("verdict", False)
    assert "No gaps" not in page
    assert "Forged" not in page or "not proven" in page


def test_what_is_proven_and_covered_is_said_first_and_outside_of_it_nothing_is_known(invoke, audit, tmp_path):
    key = ("--pubkey", tmp_path / "audit.jsonl.pub", "--zone", "Europe/Berlin")
    shown = invoke("audit", "report", *audit, *key).stdout.splitlines()
    assert shown[0].startswith("verdict       proven: every line is signed by host/audit+")
    assert shown[1] == (
        "coverage      agent1 from 2026-11-21T10:00:00.000+01:00 to 2026-11-23T00:31:01.000+01:00, 1 gap of 60.000 s"
    )
    assert shown[2].strip() == "that is the whole of the period (times are in Europe/Berlin)"
    for period in (("--to", "2026-11-21"), ("--from", "2026-11-24"), ("--account", "agent2")):
        options = (*key, *period, "--html", "r.html", "--csv", "r.csv")
        unknown = "not known: the files hold nothing about this period"
        assert invoke("audit", "report", *audit, *options).stdout.splitlines()[1] == f"coverage      {unknown}"
        assert f"# coverage: {unknown}" in (tmp_path / "r.csv").read_text()
        page = (tmp_path / "r.html").read_text()
        assert ("Not known" in page, "No gaps" in page) == (True, False)
        coverage = json.loads(invoke("audit", "report", *audit, *key, *period, "--json").stdout.splitlines()[1])
        assert (coverage["accounts"], coverage["whole"]) == ([], False)


def test_a_key_that_is_none_is_named(invoke, audit):
    result = invoke("audit", "report", *audit, "--pubkey", "nonsense")
    assert result.exit_code == 1
    assert "nonsense" in result.stderr


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
    assert shown.split("\n\n")[1].split()[0] == by
    assert "gaps          1, in which" in shown


def test_files_are_written_and_the_table_gives_way_to_the_summary(invoke, audit, tmp_path):
    files = ("--csv", "r.csv", "--html", "r.html", "--svg", "r.svg")
    result = invoke("audit", "report", *audit, *files, "--agent", "Bob", "--from", "2026-11-22")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "verdict")
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
    assert "not proven: the trail was altered" in result.stdout
    assert first.startswith(f"audit report: {audit[0]}:1: not an event of the file sink (")
    assert second.startswith(f"audit report: {audit[0]}:7: ")
    assert error.startswith("error: not proven: the trail was altered: 3 findings; ")
    assert "dispositions  4" in result.stdout
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
    assert (result.exit_code, result.stdout.splitlines()) == (0, [*EMPTY, *result.stdout.splitlines()[2:]])
    assert "the whole of the files" in (tmp_path / "r.html").read_text()


async def test_a_reader_that_goes_away_ends_it_quietly(start_shell, tmp_path):
    (tmp_path / "audit.jsonl").write_bytes(b"".join(said() for _ in range(5000)))
    shell = await start_shell("$PYTHON -m listener audit report audit.jsonl | head -1; echo ${PIPESTATUS[0]}")
    assert await shell.wait() == 0
    assert [line.split()[0] for line in shell.lines] == ["verdict", "0"]


def test_no_audit_file_is_overwritten(tmp_path):
    audit = tmp_path / "audit.csv"
    audit.write_text("")
    (tmp_path / "link.csv").symlink_to(audit)
    with AuditFile(audit) as file:
        require_harmless(tmp_path / "report.CSV", "--csv", (".csv",), [file])
        for path, why in (("audit.jsonl", "should end in .csv"), ("link.csv", "one of the files that are read")):
            with pytest.raises(typer.BadParameter, match=why):
                require_harmless(tmp_path / path, "--csv", (".csv",), [file])
