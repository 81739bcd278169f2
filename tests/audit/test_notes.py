import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.audit.chain import Head, hash_of
from listener.audit.notes import (
    NoteError,
    SigningKey,
    VerifierKey,
    checkpoint_text,
    is_name,
    parse_checkpoint,
    split_notes,
    written,
)

HEAD = Head(12, hash_of(b"x"))
TIME = "2026-11-22T09:39:00.123Z"


@pytest.fixture
def key():
    return SigningKey("host/audit", Ed25519PrivateKey.generate())


def test_a_checkpoint_has_the_form_of_its_specification(key):
    note = key.sign(checkpoint_text("host/audit", HEAD, TIME))
    lines = note.split("\n")
    root = base64.b64encode(HEAD.hash).decode()
    assert lines[:6] == ["host/audit", "12", root, "hash-chain sha256", f"time {TIME}", ""]
    assert lines[6].startswith("\u2014 host/audit ")
    assert lines[7:] == [""]


def test_what_is_signed_can_be_read_and_verified(key):
    checkpoint = parse_checkpoint(key.sign(checkpoint_text("host/audit", HEAD, TIME)))
    assert (checkpoint.origin, checkpoint.head, checkpoint.time) == ("host/audit", HEAD, TIME)
    assert checkpoint.is_signed_by(key.verifier)


def test_another_key_and_another_text_do_not_verify(key):
    note = key.sign(checkpoint_text("host/audit", HEAD, TIME))
    other = SigningKey("host/audit", Ed25519PrivateKey.generate()).verifier
    assert not parse_checkpoint(note).is_signed_by(other)
    assert not parse_checkpoint(note.replace("\n12\n", "\n13\n")).is_signed_by(key.verifier)
    assert not parse_checkpoint(note).is_signed_by(VerifierKey("another", key.verifier.public))


def test_a_verifier_key_survives_being_written_down(key):
    assert VerifierKey.parse(f"{key.verifier}\n") == key.verifier


@pytest.mark.parametrize("damage", [lambda text: text[:-3], lambda text: "x" + text, lambda _: "", lambda _: "a+b+c"])
def test_a_verifier_key_that_was_damaged_is_refused(key, damage):
    with pytest.raises(NoteError):
        VerifierKey.parse(damage(str(key.verifier)))


def test_notes_stand_one_behind_the_other_and_a_cut_one_at_the_end_is_left_out(key):
    notes = [key.sign(checkpoint_text("host/audit", Head(size, HEAD.hash), TIME)) for size in (1, 2, 3)]
    content = written(notes)
    assert list(split_notes(content)) == notes
    assert list(split_notes(notes[0])) == notes[:1]
    whole = written(notes[:2])
    for cut in range(len(whole), len(content) - 1):
        assert list(split_notes(content[:cut])) == notes[:2]
    assert list(split_notes("")) == []


@pytest.mark.parametrize(
    "note",
    [
        "a",
        "a\n\n\u2014 b c",
        "a\nx\nroot\n\n\u2014 b AAAAAAAA\n",
        "a\n1\nAAAA\nhash-chain sha256\n\n\u2014 b AAAAAAAA\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(note):
    with pytest.raises(NoteError):
        parse_checkpoint(note)


def test_the_checkpoint_of_a_tree_is_not_taken_for_one_of_a_chain(key):
    text = checkpoint_text("host/audit", HEAD, TIME).replace("hash-chain sha256\n", "")
    with pytest.raises(NoteError, match="another kind of log"):
        parse_checkpoint(key.sign(text))


@pytest.mark.parametrize("strange", ["nonsense\n\n\u2014 b AAAAAAAA\n", "nonsense\n", "\n\n\u2014 b AAAAAAAA\n"])
def test_what_is_no_note_does_not_hide_its_neighbours(key, strange):
    note = key.sign(checkpoint_text("host/audit", HEAD, TIME))
    assert list(split_notes(written([note, strange, note]))) == [note, strange, note]


def test_a_note_may_name_the_key_that_continues(key):
    other = SigningKey("host/audit", Ed25519PrivateKey.generate()).verifier
    checkpoint = parse_checkpoint(key.sign(checkpoint_text("host/audit", HEAD, TIME, other)))
    assert (checkpoint.successor, checkpoint.is_signed_by(key.verifier)) == (other, True)
    with pytest.raises(NoteError, match="not an Ed25519 verifier key"):
        parse_checkpoint(key.sign(checkpoint_text("host/audit", HEAD, TIME) + "successor nobody\n"))


@pytest.mark.parametrize(
    ("text", "usable"), [("a/b", True), ("", False), ("a b", False), ("a+b", False), ("a\u3000b", False)]
)
def test_a_name_has_no_space_and_no_plus(text, usable):
    assert is_name(text) is usable
