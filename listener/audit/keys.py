"""The signing key of an audit file: made once, for its owner alone, with its public half beside it for everybody."""

import os
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from listener.audit.notes import NoteError, SigningKey, VerifierKey
from listener.runtime.durable import sync_folder


class Keys(NamedTuple):
    """A key that is ready to sign; `created` tells that it was made just now."""

    signing: SigningKey
    created: bool


def load_or_create(path: Path, *, name: str, public: Path) -> Keys:
    """The key of a file, made at the first call. Blocks.

    Args:
        path: the private half, PEM (PKCS #8), mode 0600 where it is made here.
        name: under which it signs.
        public: where its public half is exported, as a verifier key.

    Raises:
        OSError: a file cannot be read or written.
        NoteError: the file holds no Ed25519 key; the text names the file, and nothing that is in it.
    """
    created = not path.exists()
    if created:
        _create(path)
    signing = SigningKey(name, load(path))
    text = f"{signing.verifier}\n"
    if not public.exists() or public.read_text(encoding="utf-8") != text:
        _write(public, text.encode(), 0o644, replace=True)
    return Keys(signing, created)


def load(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file. Raises OSError, NoteError."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as exc:  # TypeError: it is encrypted
        raise NoteError(f"{path} holds no private key in PEM form that is not encrypted") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise NoteError(f"{path} holds a key that is not Ed25519")
    return key


def load_verifier(text_or_path: str) -> VerifierKey:
    """The public key that a text is, or that the file of this name holds. Raises OSError, NoteError."""
    if "+" in text_or_path and not Path(text_or_path).exists():
        return VerifierKey.parse(text_or_path)
    return VerifierKey.parse(Path(text_or_path).read_text(encoding="utf-8"))


def _create(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write(path, pem, 0o600, replace=False)


def _write(path: Path, content: bytes, mode: int, *, replace: bool) -> None:
    """Whole and durable, or not at all. Raises FileExistsError where it must not replace anything."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
            os.fchmod(fd, mode)
            file.write(content)
            file.flush()
            os.fsync(fd)
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
