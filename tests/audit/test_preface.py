"""What a report begins with: what is proven, and what is known."""

from pathlib import Path

import pytest

from listener.audit.preface import preface
from listener.audit.report import Coverage, Known
from listener.audit.verdict import (
    NOTHING_UNSIGNED,
    KeyUse,
    Kind,
    Location,
    Proof,
    Span,
    Stretch,
    Tolerance,
    Trust,
    Verdict,
)

LINE = Location(Path("audit.jsonl"), 1)
KEY = KeyUse("host/audit+1a2b3c4d", Trust.GIVEN, 1, 1)
SIGNED = Stretch(Proof.SIGNED, LINE, LINE, 1, Span(0, 0), (KEY.label,))
TAIL = Stretch(Proof.CHAINED, LINE, LINE, 2, Span(1, 2))
NOWHERE = Coverage(from_=None, to=None, accounts=[], whole=False)


def of(verdict, *, asked=NOTHING_UNSIGNED, coverage=NOWHERE):
    return preface(verdict, asked, coverage=coverage, zone="UTC")


def test_it_is_proven_as_far_as_that_is_asked_for():
    verdict = Verdict(stretches=(SIGNED, TAIL), keys=(KEY,), first=0)
    accepted = of(verdict, asked=Tolerance(unsigned=2))
    assert (accepted.is_proven, accepted.verdict) == (
        True,
        f"proven: every line but 2, which were accepted, is signed by {KEY.label}",
    )
    assert (
        of(Verdict(stretches=(SIGNED,), keys=(KEY,), first=0)).verdict == f"proven: every line is signed by {KEY.label}"
    )
    assert of(verdict).verdict.startswith("not proven: 2 lines from audit.jsonl:1 on are chained, but not signed yet")


def test_what_was_done_to_the_files_is_told_as_far_as_anybody_reads():
    verdict = Verdict(stretches=(SIGNED,), keys=(KEY,), first=0)
    for line in range(30):
        verdict.find(Kind.EDITED, Location(Path("a"), line), "why")
    told = of(verdict).verdict
    assert told.startswith("not proven: the trail was altered: 30 findings; a:0: edited: why; ")
    assert told.endswith("; and 21 more reasons")


def test_without_a_verdict_the_reason_is_told():
    assert of("cannot be verified: why").verdict == "not proven: cannot be verified: why"


@pytest.mark.parametrize(
    ("whole", "last"),
    [
        (True, "that is the whole of the period (times are in UTC)"),
        (False, "what lies outside of it is not known (times are in UTC)"),
    ],
)
def test_each_account_is_known_for_a_time_and_the_rest_is_not_known(whole, last):
    known = [Known(account=f"a{number}", first="F", last="L", gaps=number, seconds=1.5) for number in range(120)]
    coverage = Coverage(from_=None, to=None, accounts=known, whole=whole)
    told = list(of(Verdict(stretches=(SIGNED,), keys=(KEY,), first=0), coverage=coverage).known())
    assert told[:3] == [
        "a0 from F to L, no gap on record",
        "a1 from F to L, 1 gap of 1.500 s",
        "a2 from F to L, 2 gaps of 1.500 s",
    ]
    assert told[100:] == ["and 20 more accounts", last]


KNOWN = Known(account="a", first="F", last="L", gaps=0, seconds=0.0)


@pytest.mark.parametrize(
    ("verdict", "from_", "whole"),
    [
        (Verdict(stretches=(SIGNED,), keys=(KEY,), first=0), None, True),
        (Verdict(stretches=(SIGNED,), keys=(KEY,), first=7), None, False),
        (Verdict(stretches=(SIGNED,), keys=(KEY,), first=7), "F", True),
        (Verdict(stretches=(SIGNED, TAIL), keys=(KEY,), first=0), None, False),
        ("cannot be verified: why", None, False),
    ],
)
def test_only_files_that_are_proven_and_begin_early_enough_cover_a_period_as_a_whole(verdict, from_, whole):
    told = of(verdict, coverage=Coverage(from_=from_, to=None, accounts=[KNOWN], whole=True))
    assert told.coverage.whole is whole
    older = not isinstance(verdict, str) and verdict.first == 7
    assert ("the 7 records before them are not in these files" in told.verdict) is older


def test_where_nothing_is_known_nothing_else_is_said():
    assert list(of(Verdict()).known()) == ["not known: the files hold nothing about this period"]
