"""What is seen while a trail is verified is what is seen without that."""

import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audit.events import epoch_ms
from listener.audit.reading import AuditFile
from listener.audit.survey import Survey, pieces
from listener.audit.verdict import Verdict
from listener.audit.verify import verify
from support.reports import event, linked, missed, said

DAY = "2026-11-22T"
RECORDS, _ = linked(
    [
        missed(f"{DAY}08:00:00Z", f"{DAY}08:00:10Z", id="gap"),
        *(said(f"{DAY}09:{minute:02d}:00Z", account=f"agent{minute % 3}") for minute in range(9)),
        event("test", f"{DAY}23:00:00Z"),
        said(f"{DAY}07:00:00+01:00"),
    ]
)
STRANGE = [said(f"{DAY}03:00:00Z"), b"nonsense\n", b"\n", b'{"time":5}\n', said("no time")]


def figures(survey, verdict):
    ordered, known = survey.ended(verdict)
    return [file.name for file in ordered], known, survey.gaps.by_account()


def both(paths):
    """Of these files what a survey saw beside a verification, and what one sees that comes behind it."""
    files = [AuditFile(path) for path in paths]
    beside, behind = Survey(files), Survey(files)
    verdict = verify(paths, partial=True, blocks=beside.blocks)
    assert [one for file in files for lines, _ in pieces(file, verdict) for one in lines] == [
        line.removesuffix(b"\n") for file in files for line in file.lines()
    ]
    found = figures(beside, verdict), figures(behind, verdict)
    assert verdict == verify(paths, partial=True)
    for file in files:
        file.__exit__()
    return found


@given(st.lists(st.lists(st.sampled_from([*RECORDS, *STRANGE])), min_size=1, max_size=3), st.integers(0, 12))
def test_whatever_the_files_hold(files, count):
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"trail-{number}.jsonl" for number in range(len(files))]
        for path, lines in zip(paths, files, strict=True):
            path.write_bytes(b"".join([*RECORDS[:count], *lines]))
        beside, behind = both(paths)
        assert beside == behind


def test_an_account_is_known_by_what_is_proven_and_a_gap_reaches_back(tmp_path):
    (tmp_path / "trail.jsonl").write_bytes(b"".join([*RECORDS[:4], STRANGE[0]]))
    beside, behind = both([tmp_path / "trail.jsonl"])
    assert beside == behind
    assert beside[1]["agent1"] == (epoch_ms(f"{DAY}08:00:00Z"), epoch_ms(f"{DAY}09:01:00Z"))


def test_what_cannot_be_verified_to_its_end_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "trail.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(RECORDS * 200))[:-9])
    with AuditFile(path) as file:
        survey = Survey([file])
        with pytest.raises(OSError, match="cannot be read further"):
            verify([path], blocks=survey.blocks)
        ordered, known = survey.ended(Verdict())
        assert (ordered, set(known)) == ([file], {"agent0", "agent1", "agent2"})
