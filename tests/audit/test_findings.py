from pathlib import Path

from listener.audit.findings import Finding, Kind, Location, Verdict


def test_a_finding_names_the_place_the_kind_and_what_is_wrong():
    verdict = Verdict()
    verdict.find(Kind.EDITED, Location(Path("a.jsonl"), 3), "it is not what it was")
    assert [str(finding) for finding in verdict.findings] == ["a.jsonl:3: edited: it is not what it was"]
    assert verdict.findings == [Finding(Kind.EDITED, Location(Path("a.jsonl"), 3), "it is not what it was")]
