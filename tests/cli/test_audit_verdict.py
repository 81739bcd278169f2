"""The verdict on a trail in words and as JSON; whole trails are in `test_audit.py`."""

from pathlib import Path

import pytest

from listener.audit.verdict import NOTHING_UNSIGNED, KeyUse, Kind, Location, Proof, Span, Stretch, Trust, Verdict
from listener.cli.audit_verdict import print_verdict, verdict_json

FILE = Path("audit.jsonl")
GIVEN = KeyUse("host/audit+1a2b3c4d", Trust.GIVEN, 2, 3)
NEXT = KeyUse("host/audit+5e6f7a8b", Trust.INTRODUCED, 1, introduced_by=GIVEN.label)
SIGNED = Stretch(Proof.SIGNED, Location(FILE, 1), Location(FILE, 3), 3, Span(0, 2), (GIVEN.label, NEXT.label))
TAIL = Stretch(Proof.CHAINED, Location(FILE, 4), Location(FILE, 5), 2, Span(3, 4))
STRANGE = Stretch(Proof.NONE, Location(FILE, 6), Location(FILE, 6), 1)


def test_keys_and_stretches_have_a_line_each(capsys: pytest.CaptureFixture[str]):
    print_verdict(Verdict(keys=(GIVEN, NEXT), stretches=(SIGNED, TAIL, STRANGE), first=0))
    assert capsys.readouterr().out.splitlines() == [
        "key host/audit+1a2b3c4d: trusted, as it was given; checkpoints: 2, up to record 2",
        "key host/audit+5e6f7a8b: trusted, as it was introduced by host/audit+1a2b3c4d; checkpoints: 1",
        "records 0 to 2, audit.jsonl:1 to audit.jsonl:3: signed by host/audit+1a2b3c4d and host/audit+5e6f7a8b",
        "records 3 to 4, audit.jsonl:4 to audit.jsonl:5: chained, not signed (2 lines)",
        "lines of no chain, audit.jsonl:6 to audit.jsonl:6: not proven (1 line)",
    ]


def test_what_an_untrusted_key_has_signed_is_not_called_signed_without_saying_so(capsys: pytest.CaptureFixture[str]):
    beside = GIVEN._replace(trust=Trust.BESIDE)
    print_verdict(Verdict(keys=(beside,), stretches=(SIGNED._replace(keys=(beside.label,)),), first=0))
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"signed by {beside.label}, which is not trusted")


def test_of_many_findings_the_first_are_told_and_none_drives_the_terminal(capsys: pytest.CaptureFixture[str]):
    verdict = Verdict()
    for line in range(1, 106):
        verdict.find(Kind.EDITED, Location(Path("a\x1b[31m"), line), "it is not what it was")
    print_verdict(verdict)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == r"a\x1b[31m:1: edited: it is not what it was"
    assert (len(lines), lines[-1]) == (101, "… and 5 more")


def test_json_says_why_it_is_not_proven():
    told = verdict_json(Verdict(keys=(GIVEN,), stretches=(SIGNED, TAIL), first=0), NOTHING_UNSIGNED)
    assert (told["proven"], told["signed"], told["unsigned"]) == (False, 3, 2)
    assert told["doubts"] == ["2 lines from audit.jsonl:4 on are chained, but not signed yet (see --max-unsigned)"]
    assert told["stretches"][1]["keys"] == ()
