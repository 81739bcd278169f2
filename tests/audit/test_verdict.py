"""What a verdict says of itself: is the trail proven, and if not, why."""

from pathlib import Path

import pytest

from listener.audit.verdict import Finding, KeyUse, Kind, Location, Proof, Span, Stretch, Tolerance, Trust, Verdict

OLD, NEW = Path("audit.jsonl.1"), Path("audit.jsonl")
KEY = KeyUse("host/audit+1a2b3c4d", Trust.GIVEN, 3, 20)
SIGNED = Stretch(Proof.SIGNED, Location(OLD, 1), Location(NEW, 5), 15, Span(0, 14), (KEY.label,))
TAIL = Stretch(Proof.CHAINED, Location(NEW, 6), Location(NEW, 8), 3, Span(15, 17))
NOTHING = "nothing is signed: "
STRANGE = Stretch(Proof.NONE, Location(NEW, 9), Location(NEW, 9), 1)


def verdict(*stretches, keys=(KEY,), first=0, **others):
    return Verdict(stretches=stretches, keys=keys, first=first, **others)


def test_a_finding_names_the_place_the_kind_and_what_is_wrong():
    found = verdict()
    found.find(Kind.EDITED, Location(Path("a.jsonl"), 3), "it is not what it was")
    assert [str(finding) for finding in found.findings] == ["a.jsonl:3: edited: it is not what it was"]
    assert found.findings == [Finding(Kind.EDITED, Location(Path("a.jsonl"), 3), "it is not what it was")]


def test_what_a_given_key_has_signed_is_proven():
    assert verdict(SIGNED).is_proven()
    assert (verdict(SIGNED).signed, verdict(SIGNED).unsigned, verdict(SIGNED).checkpoints) == (15, 0, 3)


@pytest.mark.parametrize(("allowed", "proven"), [(0, False), (2, False), (3, True)])
def test_a_tail_that_is_only_chained_is_accepted_as_far_as_that_is_asked_for(allowed, proven):
    assert verdict(SIGNED, TAIL).is_proven(Tolerance(unsigned=allowed)) is proven


def test_what_is_only_chained_before_a_signed_stretch_is_never_accepted():
    early = Stretch(Proof.CHAINED, Location(OLD, 1), Location(OLD, 2), 2, Span(0, 1))
    doubts = list(verdict(early, SIGNED).doubts(Tolerance(unsigned=9)))
    assert doubts == ["2 lines from audit.jsonl.1:1 on are chained, but not signed"]


def test_what_is_missing_is_no_line_that_waits_for_its_signature():
    """Whoever is told of `--max-unsigned` beside a trail that was cut takes that for the remedy."""
    cut = verdict(SIGNED, TAIL)
    cut.find(Kind.CUT, TAIL.last, "why")
    assert list(cut.doubts())[1] == "3 lines from audit.jsonl:6 on are chained, but not signed"


def test_a_line_of_no_chain_is_never_accepted():
    doubts = list(verdict(SIGNED, TAIL, STRANGE).doubts(Tolerance(unsigned=9, unchained=9)))
    assert doubts == ["1 line from audit.jsonl:9 on is not proven"]


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (verdict(first=None), "there are no lines"),
        (verdict(STRANGE, first=None), "no line is a record of a chain"),
        (verdict(TAIL, keys=()), NOTHING + "there are no checkpoints, and no key"),
        (verdict(TAIL, keys=(KEY._replace(checkpoints=0),)), NOTHING + "there is no checkpoint by host/audit+1a2b3c4d"),
        (verdict(TAIL, keys=(KEY._replace(trust=Trust.UNKNOWN),)), NOTHING + "there is no checkpoint by a trusted key"),
        (verdict(TAIL), NOTHING + "no checkpoint fits the lines"),
    ],
)
def test_where_nothing_is_signed_the_verdict_says_why(found, why):
    assert list(found.doubts(Tolerance(unsigned=99))) == [why]


def test_each_file_has_its_stretches_also_one_in_the_midst_of_a_long_one():
    middle, other = Path("audit.jsonl.2"), Path("other")
    found = verdict(SIGNED, TAIL, STRANGE)
    found.files = (OLD, middle, NEW)
    assert list(found.stretches_of(OLD)) == list(found.stretches_of(middle)) == [(None, SIGNED)]
    assert list(found.stretches_of(NEW)) == [(5, SIGNED), (8, TAIL), (9, STRANGE)]
    assert list(found.stretches_of(other)) == []
