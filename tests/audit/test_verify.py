"""What only a signature can prove."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from listener.audit.chain import Head, chained, head_of
from listener.audit.findings import Kind, Location
from listener.audit.notes import SigningKey, checkpoint_text, parse_checkpoint, written
from listener.audit.verify import read_checkpoints, verify
from support.checkpoints import chain_holds, checkpoints
from support.events import disposition_event
from support.trail import trail, write

TIME = "2026-11-22T09:39:00.123Z"
LINES, HEAD = trail(20)
KEY = SigningKey("host/audit", Ed25519PrivateKey.generate())
OTHER = SigningKey("host/audit", Ed25519PrivateKey.generate())


def signed(path, *sizes, key=KEY, heads=None):
    """A file of checkpoints of these sizes."""
    heads = heads or {size: head_of(LINES[size - 1][:-1]) for size in sizes}
    path.write_text(written(key.sign(checkpoint_text("host/audit", heads[size], TIME)) for size in sizes))
    return read_checkpoints(path)


def kinds(verdict):
    return [finding.kind for finding in verdict.findings]


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "notes"


def rewritten(number):
    """The trail as somebody without the key would forge it: one value changed, and the chain made anew behind it."""
    head = head_of(LINES[number - 1][:-1]) if number else Head()
    forged = []
    for place in range(number, len(LINES)):
        event = disposition_event(
            place + 1, chat=f"chat-{(place + 1) % 7}", value="Forged" if place == number else "IssueResolved"
        )
        line, head = chained(event.to_json(), len(event.data), head)
        forged.append(line + b"\n")
    return [*LINES[:number], *forged]


def test_a_trail_that_was_signed_is_proven_as_far_as_that(tmp_path, notes):
    verdict = verify(write(tmp_path, LINES), checkpoints=signed(notes, 5, 12), key=KEY.verifier)
    assert (verdict.findings, verdict.signed, verdict.checkpoints) == ([], 12, 2)


@given(number=st.integers(0, 11))
def test_a_history_that_was_written_anew_is_found_at_the_first_record_that_was_signed(number, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forged")
    forged = rewritten(number)
    assert verify(write(folder, forged)).findings == [], "without a signature nothing tells it from the true one"
    (finding, *_) = verify(write(folder, forged), checkpoints=signed(folder / "n", 12), key=KEY.verifier).findings
    assert (finding.kind, finding.place.line) == (Kind.FORKED, 12)


@given(left=st.integers(1, 19))
def test_a_tail_that_was_cut_is_found_where_a_later_checkpoint_exists(left, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    paths = write(folder, LINES[:left])
    verdict = verify(paths, checkpoints=signed(folder / "n", 20), key=KEY.verifier)
    assert kinds(verdict) == [Kind.CUT]
    assert verdict.findings[0].place == Location(paths[0], left)
    assert f"{20 - left} fewer" in verdict.findings[0].text
    assert verify(paths, checkpoints=signed(folder / "n", left), key=KEY.verifier).findings == []


def test_an_edit_of_the_very_last_record_is_found_by_its_checkpoint(tmp_path, notes):
    edited = [*LINES[:-1], LINES[-1].replace(b"IssueResolved", b"IssueReopened")]
    assert verify(write(tmp_path, edited)).findings == []
    verdict = verify(write(tmp_path, edited), checkpoints=signed(notes, 20), key=KEY.verifier)
    assert [(finding.kind, finding.place.line) for finding in verdict.findings] == [(Kind.FORKED, 20)]


def test_a_checkpoint_of_another_key_is_named_with_its_place(tmp_path, notes):
    verdict = verify(write(tmp_path, LINES), checkpoints=signed(notes, 5, 20, key=OTHER), key=KEY.verifier)
    assert kinds(verdict) == [Kind.FOREIGN_KEY] * 2
    assert {finding.place for finding in verdict.findings} == {Location(notes, 1), Location(notes, 2)}
    assert verdict.signed == 0


def test_two_histories_that_were_both_signed_are_a_fork(tmp_path, notes):
    other = head_of(rewritten(3)[-1][:-1])
    both = [*signed(notes, 20), *signed(tmp_path / "copy", 20, heads={20: other})]
    assert Kind.FORKED in kinds(verify(write(tmp_path, LINES), checkpoints=both, key=KEY.verifier))


def test_an_auditors_own_verifier_comes_to_the_same(tmp_path, notes):
    signed(notes, 5, 12, 20)
    (path,) = write(tmp_path, LINES)
    read = checkpoints(notes, str(KEY.verifier))
    assert [(origin, size) for origin, size, _ in read] == [("host/audit", 5), ("host/audit", 12), ("host/audit", 20)]
    assert all(chain_holds(path, size, root) for _, size, root in read)
    path.write_bytes(path.read_bytes().replace(b"IssueResolved", b"IssueReopened", 1))
    assert not any(chain_holds(path, size, root) for _, size, root in read)
    with pytest.raises(AssertionError):
        checkpoints(notes, str(OTHER.verifier))


def test_a_note_that_two_have_signed_is_good_for_either():
    note = KEY.sign(checkpoint_text("host/audit", HEAD, TIME))
    more = note + OTHER.sign(checkpoint_text("host/audit", HEAD, TIME)).partition("\n\n")[2]
    checkpoint = parse_checkpoint(more)
    assert checkpoint.is_signed_by(KEY.verifier)
    assert checkpoint.is_signed_by(OTHER.verifier)
