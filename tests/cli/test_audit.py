"""`audit verify` and `audit key`, as a person sees them."""

import gzip
import json

import pytest

from listener.audit.chain import head_of
from listener.audit.notes import checkpoint_text, written
from listener.audit.signer import load_or_create
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
    assert "error: the trail is not what was written: 1 findings" in result.stderr


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
        (["--pubkey", "a+b+c", "audit.jsonl"], "is no Ed25519 verifier key"),
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
    assert (result.exit_code, "no key to hold them against" in result.stderr) == (1, True)
