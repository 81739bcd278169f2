import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from listener.audit.keys import load_or_create, load_verifier
from listener.audit.notes import NoteError
from support.tools import need


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


def test_a_key_of_ones_own_may_come_from_openssl(tmp_path):
    openssl = need("openssl", package="openssl")
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "a.key"], check=True)
    assert not load_or_create(tmp_path / "a.key", name="n", public=tmp_path / "a.pub").created


def test_what_is_no_key_is_told_with_the_name_of_the_file_alone(tmp_path):
    (tmp_path / "a.key").write_text("PaSsWoRd")
    with pytest.raises(NoteError, match=r"a\.key holds no private key") as caught:
        load_or_create(tmp_path / "a.key", name="n", public=tmp_path / "a.pub")
    assert "PaSsWoRd" not in str(caught.value)
    encrypted = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    (tmp_path / "a.key").write_bytes(encrypted)
    with pytest.raises(NoteError, match="not encrypted"):
        load_or_create(tmp_path / "a.key", name="n", public=tmp_path / "a.pub")


def test_a_key_of_another_kind_is_refused(tmp_path):
    openssl = need("openssl", package="openssl")
    making = [openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "a.key"]
    subprocess.run(making, check=True)
    with pytest.raises(NoteError, match="not Ed25519"):
        load_or_create(tmp_path / "a.key", name="n", public=tmp_path / "a.pub")
