"""The chain goes on, and each event stands there once, whatever happens to the file between two batches."""

import gzip
import hashlib
import json
import os
import resource
import shutil
import subprocess
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from listener.audit.chain import Head, chained, head_of
from listener.audit.files import Closed
from listener.audit.notes import NoteError, load_verifier
from listener.audit.signer import CheckpointSigner, make_successor
from listener.audit.trail import Hooks, PartlyAppendedError, Trail, TrailOptions
from listener.audit.unsigned import Body, Known
from listener.audit.verdict import Kind, Location, Proof, Span, Tolerance
from listener.audit.verify import gather, verify
from listener.model.forms import CLOUD_EVENT
from support.events import disposition_event, events_of, sequences
from support.trail import settle


@contextmanager
def file_size_limit(limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def lines_in(*paths):
    opened = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in paths]
    return sequences(b"".join(opened).splitlines())


def test_the_chain_is_signed_at_its_end_and_the_key_is_its_owners_alone(make_trail, append, proven, path):
    trail = make_trail()
    append(trail, events_of(20))
    trail.close()
    verdict = proven()
    assert (verdict.records, verdict.signed, verdict.checkpoints) == (20, 20, 1)
    modes = {place.suffix: place.stat().st_mode & 0o777 for place in path.parent.iterdir()}
    assert modes == {".jsonl": 0o640, ".checkpoints": 0o640, ".key": 0o600, ".pub": 0o644}


def test_the_key_is_told_once_and_stays(make_trail, path):
    with capture_logs() as logs:
        make_trail().close()
        make_trail().close()
    told = [entry for entry in logs if entry["event"] == "audit_key_created"]
    assert [entry["public_key"] for entry in told] == [str(load_verifier(f"{path}.pub"))]
    assert told[0]["public_key"].partition("+")[0].endswith("/disposition-listener/audit")


def test_a_key_of_ones_own_is_used_and_an_exchanged_one_is_told(make_trail, path, tmp_path):
    make_trail().close()
    path.with_name("events.jsonl.key").rename(tmp_path / "own.key")
    path.with_name("events.jsonl.pub").rename(tmp_path / "own.pub")
    make_trail(key_file=tmp_path / "own.key").close()
    assert load_verifier(f"{path}.pub").public == load_verifier(str(tmp_path / "own.pub")).public
    assert not path.with_name("events.jsonl.key").exists()
    with capture_logs() as logs:
        make_trail().close()
    assert [entry["log_level"] for entry in logs if entry["event"] == "audit_key_changed"] == ["warning"]


def test_a_key_that_is_none_is_refused_and_stays(make_trail, path):
    key = path.with_name("events.jsonl.key")
    key.write_text("no key\n")
    with pytest.raises(NoteError, match=r"events\.jsonl\.key contains no unencrypted private key"):
        make_trail()
    assert key.read_text() == "no key\n"


def test_checkpoints_come_by_number_and_by_time(make_trail, append, proven, clock):
    notes = []
    trail = make_trail(checkpoint_lines=10, checkpoint_s=60.0, hooks=Hooks(on_signed=notes.append))
    append(trail, events_of(9))
    assert (notes, trail.due_in_s()) == ([], 60.0)
    append(trail, events_of(1, first=10))
    assert [note.split("\n")[1] for note in notes] == ["10"]
    assert trail.due_in_s() is None
    append(trail, events_of(1, first=11))
    clock.now_s += 61
    assert trail.due_in_s() == 0.0
    trail.idle()
    assert [note.split("\n")[1] for note in notes] == ["10", "11"]
    assert proven().signed == 11


def test_what_is_signed_is_in_the_file_of_checkpoints_even_without_fsync(make_trail, append, proven):
    trail = make_trail(checkpoint_lines=5, fsync=False)
    append(trail, events_of(5))
    assert proven().signed == 5


@pytest.mark.parametrize("killed", [True, False])
def test_after_a_restart_the_chain_goes_on_and_nothing_stands_there_twice(make_trail, append, proven, path, killed):
    trail = make_trail()
    append(trail, events_of(20))
    if killed:
        trail._file.close()
        trail._signer = None
    trail.close()
    append(make_trail(), events_of(30, first=11))
    assert lines_in(path) == list(range(1, 41))
    assert proven().records == 40


def test_a_new_journal_begins_at_one_and_nothing_of_it_is_taken_for_a_repetition(make_trail, append, proven, path):
    trail = make_trail()
    append(trail, events_of(20))
    fresh = [event_with(number, f"other-{number}") for number in range(1, 6)]
    append(trail, fresh)
    trail.close()
    append(make_trail(), [*fresh, event_with(6, "other-6")])
    assert lines_in(path) == [*range(1, 21), *range(1, 7)]
    assert proven().records == 26


def event_with(sequence, id_):
    return replace(disposition_event(sequence), id=id_)


def test_a_letter_that_is_replayed_late_is_written_and_its_repetition_is_not(make_trail, append, path):
    trail = make_trail()
    append(trail, [*events_of(5), *events_of(15, first=7)])
    letter = events_of(1, first=6)
    append(trail, letter)
    append(trail, letter)
    append(trail, events_of(3, first=22))
    trail.close()
    append(make_trail(), letter)
    assert lines_in(path) == [*range(1, 6), *range(7, 22), 6, 22, 23, 24]


@pytest.mark.parametrize("how", ["renamed", "renamed and created", "copied and truncated", "compressed"])
@pytest.mark.parametrize("restart", [True, False])
def test_over_a_rotation_by_others_the_chain_goes_on_and_nothing_is_repeated(
    make_trail, append, proven, path, how, restart
):
    trail = make_trail()
    append(trail, events_of(10))
    if restart:
        trail._file.close()
        trail._signer = None
    old = path.with_name("events.jsonl.1")
    if how == "copied and truncated":
        shutil.copy(path, old)
        os.truncate(path, 0)
    else:
        path.rename(old)
    if how == "renamed and created":
        path.touch()
    if how == "compressed":
        subprocess.run(["gzip", old], check=True)
        old = old.with_name("events.jsonl.1.gz")
    again = make_trail() if restart else trail
    append(again, events_of(10, first=6 if restart or how.startswith("renamed") else 11))
    again.close()
    assert lines_in(old, path) == [*range(1, 16)] if restart or how.startswith("renamed") else [*range(1, 21)]
    verdict = proven(old)
    assert verdict.signed == verdict.records
    assert verdict.checkpoints == 1 if restart else 2, "the end of a file is signed when it is left"


def test_reopening_leaves_a_renamed_file_at_once(make_trail, append, proven, path):
    trail = make_trail()
    append(trail, events_of(3))
    old = path.rename(path.with_name("events.jsonl.1"))
    trail.reopen()
    assert (path.read_bytes(), proven(old).signed) == (b"", 3)
    append(trail, events_of(1, first=4))
    assert proven(old).records == 4


def test_files_are_closed_by_size_and_by_age(make_trail, append, proven, path, clock):
    closed = []
    trail = make_trail(rotate_bytes=5000, rotate_s=3600.0, hooks=Hooks(on_closed=lambda: closed.append(1)))
    for number in range(1, 31):
        append(trail, events_of(1, first=number))
    parts = sorted(path.parent.glob("events.jsonl.20*"), key=lambda place: (len(place.name), place.name))
    assert len(parts) == len(closed) >= 2
    assert all(place.stat().st_size <= 5000 for place in (*parts, path))
    clock.now_s += 3601
    assert trail.due_in_s() == 0.0
    trail.idle()
    assert path.read_bytes() == b""
    append(trail, events_of(1, first=31))
    trail.close()
    files = sorted(path.parent.glob("events.jsonl.20*"), key=lambda place: place.stat().st_mtime_ns)
    assert len(files) == len(parts) + 1
    assert lines_in(*files, path) == list(range(1, 32))
    assert proven(*files).records == 31


@pytest.mark.parametrize("chain", [True, False])
def test_a_file_is_closed_when_the_next_line_does_not_fit_and_no_sooner(make_trail, append, path, clock, chain):
    trail = make_trail(rotate_bytes=5000, chain=chain)
    for number in range(1, 31):
        append(trail, events_of(1, first=number))
        clock.now_s += 1
    files = [*sorted(path.parent.glob("events.jsonl.20*")), path]
    assert len(files) > 2
    for file, after in pairwise(files):
        first = len(after.read_bytes().partition(b"\n")[0]) + 1
        assert file.stat().st_size <= 5000 < file.stat().st_size + first


def test_a_file_that_cannot_be_closed_grows_on(make_trail, append, path, monkeypatch):
    def refuse(*_args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Closed, "close", refuse)
    trail = make_trail(rotate_bytes=5000)
    with capture_logs() as logs:
        for number in range(1, 21):
            append(trail, events_of(1, first=number))
    assert lines_in(path) == list(range(1, 21))
    assert [entry["event"] for entry in logs] == ["audit_file_not_rotated"]


@pytest.mark.parametrize("sequence", [1, 99])
@pytest.mark.parametrize("room", [0, 1, 100, 420, 421, 700, 1700])
def test_a_full_disk_leaves_the_chain_as_it_is_in_the_file(make_trail, append, proven, path, room, sequence):
    """Between the two attempts something else comes, such as a letter that is replayed."""
    trail = make_trail()
    append(trail, events_of(2))
    batch = events_of(5, first=3)
    with file_size_limit(path.stat().st_size + room), pytest.raises(PartlyAppendedError) as caught:
        append(trail, batch)
    left = [event for index, event in enumerate(batch) if index not in caught.value.delivered]
    append(trail, [event_with(sequence, "late")])
    append(trail, left)
    assert sorted(lines_in(path)) == sorted([1, 2, 3, 4, 5, 6, 7, sequence])
    assert proven().records == 8


@pytest.mark.parametrize("again", ["the same events", "others first"])
@pytest.mark.parametrize("room", [0, 1, 100, 700])
def test_a_chain_that_a_full_disk_held_up_at_its_first_record_names_what_stood_before(
    make_trail, append, proven, path, room, again
):
    path.write_bytes(b"".join(event.to_json() + b"\n" for event in events_of(10)))
    trail = make_trail()
    with file_size_limit(path.stat().st_size + room), pytest.raises(PartlyAppendedError) as caught:
        append(trail, events_of(2, first=11))
    left = [event for index, event in enumerate(events_of(2, first=11)) if index not in caught.value.delivered]
    append(trail, left if again == "the same events" else [event_with(1, "late"), *left])
    verdict = proven()
    assert (verdict.findings, verdict.unchained) == ([], 10)
    assert verdict.records == 2 + (again == "others first")


def test_lines_that_are_missing_at_the_start_stay_missing(make_trail, append, path):
    """Whoever cuts the tail while nobody writes must not get the rest signed as if nothing had been there."""
    trail = make_trail()
    append(trail, events_of(10))
    trail.close()
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:7]))
    with capture_logs() as logs:
        trail = make_trail()
    assert [entry["signed"] for entry in logs if entry["event"] == "audit_records_missing"] == [10]
    append(trail, events_of(5, first=11))
    trail.close()
    verdict = verify([path], gather([path], pubkeys=[f"{path}.pub"]))
    assert [(finding.kind, finding.place.line) for finding in verdict.findings] == [(Kind.DELETED, 8)]
    assert "records 7 to 9" in verdict.findings[0].text


def test_an_older_file_is_continued_and_its_lines_are_not_repeated(make_trail, append, proven, path):
    path.write_bytes(b"".join(event.to_json() + b"\n" for event in events_of(10)))
    append(make_trail(), events_of(10, first=6))
    verdict = proven()
    assert (lines_in(path), verdict.findings, verdict.unchained, verdict.records) == ([*range(1, 16)], [], 10, 5)
    path.write_bytes(path.read_bytes().replace(b"1", b"2", 1))
    assert [each.kind for each in verify([path]).findings] == [Kind.EDITED]


def test_where_nothing_can_be_made_beside_the_file_it_is_written_without_checkpoints(tmp_path, append, monkeypatch):
    path = tmp_path / "events.jsonl"

    def refused(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("listener.audit.signer.load_or_create", refused)
    options = {"path": path, "sink": "audit", "form": CLOUD_EVENT}
    with capture_logs() as logs:
        trail = Trail(options=TrailOptions(**options))
        trail.open()
    append(trail, events_of(3))
    trail.close()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("audit_not_signed", "error")]
    assert verify([path]).records == 3
    with pytest.raises(PermissionError):
        Trail(options=TrailOptions(**options, must_sign=True)).open()


def killed(trail):
    """As after kill -9: nothing more is signed."""
    trail._signer = None
    trail.close()


def known(*events, last=None):
    """A journal that has these events."""
    bodies = {event.sequence: Body(event.to_json(), len(event.data)) for event in events}
    return Known(bodies, max(bodies, default=0) if last is None else last)


def settled(trail, *events, **journal):
    """Compare what is unsigned with a journal; returns how many lines were moved aside."""
    moved = trail.settle(known(*events, **journal)) if trail.doubtful() is not None else 0
    trail.begin()
    return moved


def notices(path):
    """The notices of a trail: what each tells."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [(line["type"].rpartition(".")[2], line["data"]) for line in lines if ".audit." in line["type"]]


def test_what_a_killed_listener_left_unsigned_is_signed_where_the_journal_has_it(make_trail, append, proven, path):
    trail = make_trail()
    append(trail, events_of(20))
    killed(trail)
    before = path.read_bytes()
    trail = make_trail(touched=True)
    assert trail.doubtful() == [*range(1, 21)]
    assert settled(trail, *events_of(20)) == 0
    trail.close()
    assert path.read_bytes() == before
    assert proven().is_proven()


def test_a_line_that_claims_to_stand_behind_more_than_fit_into_memory_is_told_in_a_stretch(make_trail, path):
    event, number = disposition_event(1), 10**17
    path.write_bytes(chained(event.to_json(), len(event.data), Head(number, bytes(32)))[0] + b"\n")
    trail = make_trail(touched=True)
    trail.settle(known(last=5))
    trail.close()
    assert notices(path) == [("unconfirmed", {"firstRecord": 0, "lastRecord": number})]


@pytest.mark.parametrize("sequence", [6, 10**17, 10**40])
def test_a_line_that_was_appended_meanwhile_is_moved_aside_and_on_record(make_trail, append, proven, path, sequence):
    trail = make_trail()
    append(trail, events_of(5))
    trail.close()
    event = disposition_event(sequence, value="Forged")
    forged = chained(event.to_json(), len(event.data), head_of(path.read_bytes().splitlines()[-1]))[0] + b"\n"
    with path.open("ab") as file:
        file.write(forged)
    trail = make_trail(touched=True)
    assert trail.doubtful() == [5, sequence][: 1 + (sequence < 10**18)], (
        "the last event that is signed tells whether it is the same journal"
    )
    with capture_logs() as logs:
        assert settled(trail, *events_of(5)) == 1
    (aside,) = path.parent.glob("events.jsonl.quarantined-*")
    assert aside.read_bytes() == forged
    assert aside.stat().st_mode & 0o777 == 0o640
    digest = hashlib.sha256(forged).hexdigest()
    told = {"file": aside.name, "lines": 1, "sha256": digest, "inClosedFiles": 0}
    assert notices(path) == [("quarantined", told)]
    assert [(entry["event"], entry["lines"]) for entry in logs] == [("audit_lines_quarantined", 1)]
    append(trail, events_of(3, first=6))
    assert trail._signer.last.size == 6, "what follows is not late"
    trail.close()
    verdict = proven()
    assert (lines_in(path), verdict.is_proven()) == ([1, 2, 3, 4, 5, 0, 6, 7, 8], True)
    assert path.stat().st_mode & 0o777 == 0o640


def test_an_event_that_was_changed_gives_way_to_the_true_one(make_trail, append, proven, path):
    trail = make_trail()
    append(trail, events_of(5))
    killed(trail)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"IssueResolved", b"IssueReopened"), *lines[3:]]))
    trail = make_trail(touched=True)
    assert settled(trail, *events_of(5)) == 1
    trail.close()
    assert lines_in(path) == [1, 2, 3, 4, 5, 0]
    assert b"IssueReopened" not in path.read_bytes()
    assert proven().is_proven()


def test_what_the_journal_has_no_more_is_kept_and_called_unconfirmed(make_trail, append, proven, path):
    trail = make_trail()
    append(trail, events_of(8))
    killed(trail)
    trail = make_trail(touched=True)
    assert settled(trail, *events_of(3, first=6)) == 0
    append(trail, events_of(2, first=9))
    trail.close()
    assert notices(path) == [("unconfirmed", {"firstRecord": 0, "lastRecord": 4})]
    verdict = proven()
    assert [(one.proof, one.records) for one in verdict.stretches] == [
        (Proof.CHAINED, Span(0, 4)),
        (Proof.SIGNED, Span(5, 10)),
    ]
    assert not verdict.is_proven(Tolerance(unsigned=99))


def test_false_lines_in_a_file_that_was_rotated_meanwhile_are_not_followed(make_trail, append, path):
    trail = make_trail()
    append(trail, events_of(3))
    trail.close()
    event = disposition_event(4, value="Forged")
    with path.open("ab") as file:
        file.write(chained(event.to_json(), len(event.data), head_of(path.read_bytes().splitlines()[-1]))[0] + b"\n")
    old = path.rename(path.with_name("events.jsonl.1"))
    trail = make_trail(touched=True)
    assert settled(trail, *events_of(3)) == 1
    append(trail, events_of(2, first=4))
    trail.close()
    assert lines_in(path) == [0, 4, 5]
    assert notices(path)[0][1]["inClosedFiles"] == 1
    verdict = verify([old, path], gather([path], pubkeys=[f"{path}.pub"]))
    assert [one.records for one in verdict.stretches if one.proof is Proof.SIGNED] == [Span(0, 2), Span(3, 5)]
    assert {one.place for one in verdict.findings} == {Location(old, 4)}


def test_a_history_that_was_written_anew_over_the_signed_one_is_not_signed(make_trail, append, path):
    trail = make_trail()
    append(trail, events_of(6))
    trail.close()
    head, lines = Head(), []
    for number in range(1, 9):
        event = disposition_event(number, value="Forged")
        line, head = chained(event.to_json(), len(event.data), head)
        lines.append(line + b"\n")
    path.write_bytes(b"".join(lines))
    with capture_logs() as logs:
        trail = make_trail(touched=True)
        assert settled(trail, *events_of(6)) == 2
    assert [entry["event"] for entry in logs] == ["audit_records_missing", "audit_lines_quarantined"]
    append(trail, events_of(2, first=7))
    trail.close()
    verdict = verify([path], gather([path], pubkeys=[f"{path}.pub"]))
    assert [one.records for one in verdict.stretches if one.proof is Proof.SIGNED] == [Span(6, 8)]


def test_an_event_that_comes_late_is_signed_at_once(make_trail, append, proven):
    """The journal may have no copy of it any more when it is compared."""
    trail = make_trail()
    append(trail, events_of(5, first=10))
    assert proven().signed == 0
    append(trail, events_of(1, first=3))
    assert proven().signed == 6


def test_the_next_key_takes_over_and_is_introduced(make_trail, append, path):
    trail = make_trail()
    append(trail, events_of(3))
    old = path.with_name("events.jsonl.pub").read_text()
    draft = path.with_name("events.jsonl.key.next")
    successor = make_successor(path.with_name("events.jsonl.key"), public=path.with_name("events.jsonl.pub"))
    with capture_logs() as logs:
        trail.reopen()
    assert [entry["event"] for entry in logs] == ["audit_key_rotated"]
    assert not draft.exists()
    new = path.with_name("events.jsonl.pub").read_text()
    assert new == f"{successor}\n" != old
    append(trail, events_of(3, first=4))
    trail.close()
    assert notices(path) == [("key", {"key": new.strip(), "previous": old.strip(), "introduced": True})]
    for keys in ([old], [new], [old, new]):
        verdict = verify([path], gather([path], pubkeys=keys))
        assert (verdict.is_proven(), verdict.signed) == (True, 7)
    with capture_logs() as logs:
        trail = make_trail(touched=True)
    assert logs == []
    assert trail.doubtful() is None


def test_a_key_that_was_lost_is_on_record_and_the_old_one_proves_what_it_signed(make_trail, append, path):
    trail = make_trail()
    append(trail, events_of(3))
    trail.close()
    old = path.with_name("events.jsonl.pub").read_text()
    path.with_name("events.jsonl.key").unlink()
    trail = make_trail(touched=True)
    assert settled(trail, *events_of(3)) == 0
    append(trail, events_of(2, first=4))
    trail.close()
    new = path.with_name("events.jsonl.pub").read_text()
    assert notices(path) == [("key", {"key": new.strip(), "previous": old.strip(), "introduced": False})]
    proofs = {}
    for name, keys in {"old": [old], "new": [new], "both": [old, new]}.items():
        verdict = verify([path], gather([path], pubkeys=keys))
        proofs[name] = (verdict.is_proven(), [(one.proof, one.records) for one in verdict.stretches])
    assert proofs == {
        "old": (False, [(Proof.SIGNED, Span(0, 2)), (Proof.CHAINED, Span(3, 5))]),
        "new": (True, [(Proof.SIGNED, Span(0, 5))]),
        "both": (True, [(Proof.SIGNED, Span(0, 2)), (Proof.SIGNED, Span(3, 5))]),
    }


def test_a_next_key_that_somebody_else_put_there_is_refused_and_the_present_one_continues(make_trail, append, path):
    trail = make_trail()
    append(trail, events_of(3))
    old = path.with_name("events.jsonl.pub").read_text()
    draft = path.with_name("events.jsonl.key.next")
    shutil.copy(path.with_name("events.jsonl.key"), draft)
    with capture_logs() as logs:
        trail.reopen()
        draft.unlink()
        draft.symlink_to("events.jsonl.key")
        trail.reopen()
    assert [entry["event"] for entry in logs] == ["audit_key_refused"] * 2
    trail.close()
    assert path.with_name("events.jsonl.pub").read_text() == old
    assert notices(path) == []


@pytest.mark.parametrize("step", ["replace", "_append"])
def test_a_change_of_keys_that_a_crash_interrupts_is_done_again(make_trail, append, path, monkeypatch, step):
    trail = make_trail()
    append(trail, events_of(3))
    trail.close()
    old = path.with_name("events.jsonl.pub").read_text()
    make_successor(path.with_name("events.jsonl.key"), public=path.with_name("events.jsonl.pub"))

    def crash(*_args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*{"replace": (Path, "replace", crash), "_append": (CheckpointSigner, "_append", crash)}[step])
        trail = make_trail(touched=True)
        with suppress(OSError):
            trail.begin()
        killed(trail)
    trail = make_trail(touched=True)
    settled(trail, *events_of(3))
    append(trail, events_of(2, first=4))
    trail.close()
    assert not path.with_name("events.jsonl.key.next").exists()
    assert path.with_name("events.jsonl.pub").read_text() != old
    assert verify([path], gather([path], pubkeys=[old])).is_proven()


class Life:
    """A trail over whatever happens to it; `last` is the sequence of the last event that it was given."""

    def __init__(self, folder):
        self.path, self.folder = folder / "events.jsonl", folder
        self.now_s, self.last, self.rotations = 1_795_340_340.0, 0, 0
        self.start()

    def start(self):
        options = TrailOptions(
            path=self.path,
            sink="audit",
            form=CLOUD_EVENT,
            fsync=False,
            rotate_s=3600.0,
            checkpoint_lines=7,
            compress=True,
        )
        self.trail = Trail(options=options, now=lambda: self.now_s)
        self.trail.open()
        settle(self.trail)
        self.trail.tidy(lambda: False)

    def put(self, first, last):
        events = events_of(last + 1 - first, first=first)
        self.trail.append(events)
        self.last = last

    def append(self, count):
        self.put(self.last + 1, self.last + count)

    def repeat(self, count):
        """As a lane does whose cursor was behind: the last events once more, and one that follows."""
        self.put(max(1, self.last + 1 - count), self.last + 1)

    def stop(self, _count=0):
        self.trail.close()
        self.start()

    def kill(self, count):
        self.trail._signer = None
        self.stop(count)

    def tear(self, count):
        self.trail._signer = None
        self.trail.close()
        with self.path.open("ab") as file:
            file.write(disposition_event(self.last + 1).to_json()[:100])
        self.start()

    def rename(self, _count):
        if self.path.exists() and self.path.stat().st_size:
            self.rotations += 1
            self.path.rename(self.folder / f"events.jsonl.{self.rotations}")

    def truncate(self, count):
        if self.path.exists() and self.path.stat().st_size:
            self.rotations += 1
            shutil.copy(self.path, self.folder / f"events.jsonl.{self.rotations}")
            os.truncate(self.path, 0)
            self.kill(count)

    def age(self, _count):
        self.now_s += 3700.0
        self.trail.idle()


LIVES = st.lists(
    st.tuples(
        st.sampled_from(["append", "repeat", "stop", "kill", "tear", "rename", "truncate", "age"]), st.integers(1, 12)
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(LIVES)
def test_whatever_happens_in_whatever_order_each_event_stands_there_once_and_all_is_proven(tmp_path_factory, life):
    folder = tmp_path_factory.mktemp("life")
    led = Life(folder)
    for step, count in life:
        getattr(led, step)(count)
    led.trail.close()
    paths = [place for place in folder.iterdir() if place.suffix not in (".checkpoints", ".key", ".pub")]
    verdict = verify(paths, gather(paths, pubkeys=[f"{folder}/events.jsonl.pub"]))
    assert verdict.findings == []
    assert (verdict.records, verdict.signed) == (led.last, led.last)


@pytest.mark.parametrize("suffix", ["", ".checkpoints", ".pub", ".key"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_the_place_of_a_file_of_the_trail_is_not_followed(make_trail, path, tmp_path, suffix, there):
    victim = tmp_path / "victim"
    if there:
        victim.write_bytes(b"precious")
    path.with_name(f"{path.name}{suffix}").symlink_to(victim)
    with pytest.raises((OSError, NoteError)):
        make_trail().append([disposition_event(1)])
    assert victim.exists() is there
    assert not there or victim.read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("suffix", ["", ".checkpoints", ".pub", ".key"])
def test_a_file_of_the_trail_that_another_user_has_made_is_refused(make_trail, path, suffix):
    make_trail().close()
    theirs = path.with_name(f"{path.name}{suffix}")
    theirs.touch()
    os.chown(theirs, 12_345, -1)
    with pytest.raises(OSError, match=r"it belongs to another user \(uid 12345\)"):
        make_trail()
