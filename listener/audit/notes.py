"""Signed notes and the checkpoints in them, as C2SP defines both (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).

A checkpoint says: the log of this origin had so many records, and this is its root hash. Ours is no Merkle tree but a
chain, so the root hash is that of the last record; the first extension line, `hash-chain sha256`, says so. The second
is the time.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.audit.chain import Head
from listener.errors import ListenerError

CHAIN_LINE = "hash-chain sha256"
_ED25519 = b"\x01"  # signed-note: the algorithm's byte, in key ids and verifier keys
_DASH = "\u2014 "
_HASH_BYTES = 32
_KEY_ID_BYTES = 4
_NAME = re.compile(r"[^\s+]+")


class NoteError(ListenerError):
    """A note, a checkpoint or a key is malformed."""


def is_name(text: str) -> bool:
    """Whether a key, and so a log, may have this name: not empty, no white space, no plus (signed-note)."""
    return _NAME.fullmatch(text) is not None


class VerifierKey(NamedTuple):
    """The public half of a key, with the name under which it signs."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        """4 bytes that name the key in a signature line (signed-note, "Signatures")."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        """The key as text: `<name>+<id>+<key>` (signed-note, "Verifier keys")."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """The key in a text. Raises NoteError."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = _decoded(encoded)
        if not is_name(name) or raw[:1] != _ED25519 or len(raw) != 1 + _HASH_BYTES:
            raise NoteError("is not an Ed25519 verifier key, such as example.com/audit+1a2b3c4d+AbCd…")
        key = cls(name, raw[1:])
        if key.key_id.hex() != key_id:
            raise NoteError(f"the verifier key of {name} does not match its own id: it was truncated or changed")
        return key

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Whether this key made the signature (64 bytes) of a note's text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text)
        except (InvalidSignature, ValueError):
            return False
        return True


def load_verifier(text_or_path: str) -> VerifierKey:
    """The public key that a text is, or that the file of this name holds. Raises OSError, NoteError."""
    if "+" in text_or_path and not Path(text_or_path).exists():
        return VerifierKey.parse(text_or_path)
    return VerifierKey.parse(Path(text_or_path).read_text(encoding="utf-8"))


class SigningKey:
    """A private key, and the name under which it signs."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.verifier = VerifierKey(name, private.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """The signed note with this text, which ends in a line end."""
        signature = self.verifier.key_id + self._private.sign(text.encode())
        return f"{text}\n{_DASH}{self.verifier.name} {base64.b64encode(signature).decode()}\n"


class Signature(NamedTuple):
    """One signature line of a note."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What a note says of a log. `text` is what its signatures sign; `time` is None if the note has none."""

    origin: str
    head: Head
    time: str | None
    text: bytes
    signatures: tuple[Signature, ...]

    def is_signed_by(self, key: VerifierKey) -> bool:
        """Whether one of the signatures is this key's, and right."""
        mine = [one for one in self.signatures if (one.name, one.key_id) == (key.name, key.key_id)]
        return any(key.verifies(self.text, one.signature) for one in mine)


def checkpoint_text(origin: str, head: Head, time: str) -> str:
    """What is signed."""
    return f"{origin}\n{head.size}\n{base64.b64encode(head.hash).decode()}\n{CHAIN_LINE}\ntime {time}\n"


def parse_checkpoint(note: str) -> Checkpoint:
    """The checkpoint in one signed note; its signatures are not verified. Raises NoteError."""
    text, found, rest = note.partition("\n\n")
    lines = text.split("\n")
    signatures = tuple(_signature(line) for line in rest.rstrip("\n").split("\n"))
    if not found or len(lines) < len(("origin", "size", "root hash")):
        raise NoteError("is not a checkpoint: expected a name, a number, a hash, an empty line and signatures")
    origin, size, root, *extensions = lines
    head = _decoded(root)
    if not origin or re.fullmatch(r"0|[1-9][0-9]{0,17}", size) is None or len(head) != _HASH_BYTES:
        raise NoteError("is not a checkpoint: its first three lines should be a name, a number and a SHA-256 in Base64")
    if CHAIN_LINE not in extensions:
        raise NoteError(f"is a checkpoint of another kind of log: expected a line {CHAIN_LINE!r}")
    times = [line.removeprefix("time ") for line in extensions if line.startswith("time ")]
    return Checkpoint(
        origin=origin,
        head=Head(int(size), head),
        time=times[0] if times else None,
        text=f"{text}\n".encode(),
        signatures=signatures,
    )


def parse_checkpoints(content: str) -> Sequence[Checkpoint]:
    """The checkpoints of a file that holds one note behind the other, an empty line between them. Raises NoteError.

    What stands behind the last whole note is left out: a crash may have cut it.
    """
    parts = content.split("\n\n")
    whole = len(parts) - len(parts) % 2
    if whole == len(parts) and not (parts[-1] and content.endswith("\n")):
        whole -= 2
    notes = [f"{parts[n]}\n\n{parts[n + 1]}\n" for n in range(0, whole, 2) if parts[n] or parts[n + 1]]
    return [_numbered(number, note) for number, note in enumerate(notes, start=1)]


def _numbered(number: int, note: str) -> Checkpoint:
    try:
        return parse_checkpoint(note)
    except NoteError as exc:
        raise NoteError(f"note {number} {exc}") from exc


def written(notes: Iterable[str]) -> str:
    """Notes as `parse_checkpoints` reads them."""
    return "".join(f"{note}\n" for note in notes)


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _decoded(encoded)
    if not line.startswith(_DASH) or not is_name(name) or len(raw) <= _KEY_ID_BYTES:
        raise NoteError("has a line after its text that is not a signature")
    return Signature(name, raw[:_KEY_ID_BYTES], raw[_KEY_ID_BYTES:])


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
