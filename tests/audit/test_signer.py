"""A key is made once; checkpoints are appended whole, go on after a crash, and hold up nothing."""

import os
import shutil
import subprocess
from contextlib import nullcontext

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from structlog.testing import capture_logs

from listener.audit.chain import Head
from listener.audit.notes import NoteError, SigningKey, load_verifier, parse_checkpoint, split_notes
from listener.audit.signer import CheckpointSigner, load, load_or_create, make_successor, successor_of
from support.checkpoints import checkpoints
from support.tools import need

KEY = SigningKey("host/audit", Ed25519PrivateKey.generate())
OTHER = SigningKey("host/audit", Ed25519PrivateKey.generate())
TIME = "2026-11-22T09:39:00.123Z"


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "notes"


@pytest.fixture
def make_notary(notes):
    def make(key=KEY, **options):
        signer = CheckpointSigner(path=notes, key=key, mode=0o640, now=lambda: TIME, **options)
        signer.open()
        return signer

    return make


def head(size):
    return Head(size, bytes([size]) * 32)


def sizes(path, key=KEY):
    return [size for _, size, _ in checkpoints(path, str(key.verifier))]


def test_an_auditors_verifier_reads_what_is_signed(make_notary, notes):
    posted = []
    signer = make_notary(on_signed=posted.append)
    signer.sign(head(3))
    signer.sign(head(5))
    assert checkpoints(notes, str(KEY.verifier)) == [
        ("host/audit", 3, bytes([3]) * 32),
        ("host/audit", 5, bytes([5]) * 32),
    ]
    assert "".join(f"{note}\n" for note in posted) == notes.read_text()
    assert notes.stat().st_mode & 0o777 == 0o640


def test_nothing_is_signed_twice_and_nothing_that_is_shorter(make_notary, notes):
    signer = make_notary()
    for size in (0, 5, 5, 3):
        signer.sign(head(size))
    assert sizes(notes) == [5]


def test_the_next_one_knows_what_was_signed_last_by_its_own_key(make_notary):
    assert make_notary().last == Head()
    make_notary().sign(head(5))
    make_notary(OTHER).sign(head(9))
    assert make_notary().last == head(5)
    assert make_notary(OTHER).last == head(9)


def test_of_a_long_file_only_the_end_is_read(make_notary, notes):
    signer = make_notary()
    signer.sign(head(3))
    notes.write_bytes(notes.read_bytes() * 500)
    make_notary().sign(head(5))
    assert make_notary().last == head(5)
    assert len(sizes(notes)) == 501


@pytest.mark.parametrize(
    "tail", [b"host/audit\n7\nAAAA", b"host/audit\n7\nAAAA\n\n", "host/audit\n7\n\n\u2014 h".encode(), bytes(40)]
)
def test_what_a_crash_has_left_of_a_checkpoint_is_cut_off(make_notary, notes, tail):
    make_notary().sign(head(5))
    whole = notes.read_bytes()
    notes.write_bytes(whole + tail)
    with capture_logs() as logs:
        signer = make_notary()
    assert [(entry["event"], entry["cut_bytes"]) for entry in logs] == [("audit_checkpoints_repaired", len(tail))]
    assert (signer.last, notes.read_bytes()) == (head(5), whole)
    signer.sign(head(6))
    assert sizes(notes) == [5, 6]


def test_a_first_checkpoint_that_a_crash_has_cut_is_none(make_notary, notes):
    notes.write_bytes(b"host/audit\n7\nAA")
    make_notary().sign(head(6))
    assert sizes(notes) == [6]


@pytest.fixture
def small_disk(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    command = ("mount", "-t", "tmpfs", "-o", "size=8k", "none", mount)
    if shutil.which("mount") is None or subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this user cannot mount a tmpfs")
    yield mount
    subprocess.run(("umount", "--lazy", mount), check=True)


def test_a_full_disk_is_told_once_and_leaves_no_half_of_a_checkpoint(small_disk):
    notes, posted = small_disk / "notes", []
    signer = CheckpointSigner(path=notes, key=KEY, mode=0o640, now=lambda: TIME, on_signed=posted.append)
    signer.sign(head(1))
    whole = notes.read_bytes()
    (small_disk / "ballast").write_bytes(bytes(4096))
    os.truncate(notes, 4096 - 50)
    with capture_logs() as logs:
        signer.sign(head(2))
        signer.sign(head(3))
    assert [entry["event"] for entry in logs] == ["audit_checkpoint_not_written"]
    assert (signer.last, notes.stat().st_size) == (head(1), 4096 - 50)
    (small_disk / "ballast").unlink()
    os.truncate(notes, len(whole))
    signer.sign(head(4))
    assert sizes(notes) == [1, 4]
    assert len(posted) == 2


@pytest.fixture
def made(tmp_path):
    return load_or_create(tmp_path / "a.key", name="host/audit", public=tmp_path / "a.pub")


def test_a_key_is_made_once_for_its_owner_and_exported_for_everybody(made, tmp_path):
    assert made.created
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a.pub").stat().st_mode & 0o777 == 0o644
    again = load_or_create(tmp_path / "a.key", name="host/audit", public=tmp_path / "a.pub")
    assert not again.created
    assert again.signing.verifier == made.signing.verifier
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.key", "a.pub"]


def test_the_public_half_is_exported_again_where_it_is_not_there(made, tmp_path):
    (tmp_path / "a.pub").unlink()
    load_or_create(tmp_path / "a.key", name="host/audit", public=tmp_path / "a.pub")
    assert load_verifier(str(tmp_path / "a.pub")) == made.signing.verifier
    assert load_verifier(str(made.signing.verifier)) == made.signing.verifier


@pytest.fixture
def waiting(made, tmp_path):
    """The public half of the key that waits beside `a.key`."""
    return make_successor(tmp_path / "a.key", public=tmp_path / "a.pub")


def test_a_key_that_waits_is_signed_by_the_one_that_is_there(made, waiting, tmp_path):
    found = successor_of(tmp_path / "a.key", present=made.verifier)
    assert found.key.verifier == waiting != made.verifier
    assert waiting.name == made.verifier.name
    (tmp_path / "b.key").write_bytes(found.pem)
    assert load(tmp_path / "b.key").public_key().public_bytes_raw() == waiting.public
    assert (tmp_path / "a.key.next").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        make_successor(tmp_path / "a.key", public=tmp_path / "a.pub")


def test_where_no_key_waits_there_is_none(made, tmp_path):
    assert successor_of(tmp_path / "a.key", present=made.verifier) is None


def test_a_key_that_the_present_one_has_not_signed_is_refused(made, waiting, tmp_path):
    """Whoever can write into the folder could put one there, and would then sign in the listener's name."""
    draft = tmp_path / "a.key.next"
    pem, end, _ = draft.read_bytes().partition(b"-----END PRIVATE KEY-----\n")
    other = load_or_create(tmp_path / "o.key", name="host/audit", public=tmp_path / "o.pub")
    foreign = (tmp_path / "o.key").read_bytes()
    genuine = draft.read_bytes()[len(pem + end) :]
    for content in (
        pem + end,
        pem + end + other.signing.sign(f"successor {waiting}\n").encode(),
        foreign + other.signing.sign(f"successor {other.verifier}\n").encode(),
        foreign + genuine,
        b"nonsense",
    ):
        draft.write_bytes(content)
        with pytest.raises(NoteError, match=r"a\.key\.next"):
            successor_of(tmp_path / "a.key", present=made.verifier)


def test_a_head_that_is_handed_over_is_signed_by_both_keys(made, waiting, make_notary, notes, tmp_path):
    signer, successor = make_notary(), successor_of(tmp_path / "a.key", present=made.verifier)
    assert signer.hand_over(successor.key, head(4))
    signer.sign(head(5))
    first, second = map(parse_checkpoint, split_notes(notes.read_text()))
    assert (first.head, first.successor) == (head(4), waiting)
    assert first.is_signed_by(KEY.verifier)
    assert first.is_signed_by(waiting)
    assert second.is_signed_by(waiting)
    assert not second.is_signed_by(KEY.verifier)


def test_a_key_of_ones_own_may_come_from_openssl(tmp_path):
    openssl = need("openssl", package="openssl")
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "a.key"], check=True)
    assert not load_or_create(tmp_path / "a.key", name="n", public=tmp_path / "a.pub").created


def test_what_is_no_key_is_told_with_the_name_of_the_file_alone(tmp_path):
    (tmp_path / "a.key").write_text("PaSsWoRd")
    with pytest.raises(NoteError, match=r"a\.key contains no unencrypted private key") as caught:
        load_or_create(tmp_path / "a.key", name="n", public=tmp_path / "a.pub")
    assert "PaSsWoRd" not in str(caught.value)
    encrypted = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "a.key").write_bytes(encrypted)
    with pytest.raises(NoteError, match="unencrypted"):
        load_or_create(tmp_path / "a.key", name="n", public=tmp_path / "a.pub")


def test_a_key_of_another_kind_is_refused(tmp_path):
    openssl = need("openssl", package="openssl")
    making = [openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "a.key"]
    subprocess.run(making, check=True)
    with pytest.raises(NoteError, match="not Ed25519"):
        load_or_create(tmp_path / "a.key", name="n", public=tmp_path / "a.pub")


def test_a_key_of_ours_that_others_can_read_becomes_ours_alone(made, tmp_path):
    path = tmp_path / "a.key"
    path.chmod(0o664)
    with capture_logs() as logs:
        load(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry["event"] for entry in logs] == ["audit_key_permissions_narrowed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(("mode", "refused"), [(0o440, False), (0o400, False), (0o444, True), (0o460, True)])
def test_a_key_of_the_folders_owner_may_be_read_by_our_group_and_no_others(made, tmp_path, mode, refused):
    """As Kubernetes gives a secret to a container."""
    path = tmp_path / "a.key"
    path.chmod(mode)
    os.chown(path, 12_345, -1)
    os.chown(tmp_path, 12_345, -1)
    link = tmp_path / "link.key"
    link.symlink_to(path)
    for one in (path, link):
        with pytest.raises(OSError, match="other users can read or write it") if refused else nullcontext():
            load(one)
