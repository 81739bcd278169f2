"""Signed notes and the checkpoints in them, as C2SP defines both (c2sp.org/signed-note, c2sp.org/tlog-checkpoint).

A checkpoint says: the log of this origin had so many records, and this is its root hash. Ours is no Merkle tree but a
chain, so the root hash is that of the last record; the first extension line, `hash-chain sha256`, says so. The second
is the time. A third one, `successor <verifier key>`, says that this key signs from now on.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from listener.audit.chain import Head
from listener.errors import ListenerError
from listener.runtime.owned import open_to_read

CHAIN_LINE = "hash-chain sha256"
_SUCCESSOR = "successor "
_ED25519 = b"\x01"  # signed-note: the algorithm's byte, in key ids and verifier keys
_DASH = "\u2014 "
_LINE_END = "\n"
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

    @property
    def label(self) -> str:
        """Its name and id, `<name>+<id>`: enough to tell it from others."""
        return f"{self.name}+{self.key_id.hex()}"

    def __str__(self) -> str:
        """The key as text: `<name>+<id>+<key>` (signed-note, "Verifier keys")."""
        return f"{self.label}+{base64.b64encode(_ED25519 + self.public).decode()}"

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
    with open_to_read(Path(text_or_path), or_pipe=True) as file:
        return VerifierKey.parse(TextIOWrapper(file, encoding="utf-8-sig").read())


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

    @property
    def label(self) -> str:
        """What a key that made it has as `VerifierKey.label`."""
        return f"{self.name}+{self.key_id.hex()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """What a note says of a log.

    Attributes:
        origin: the name of the log.
        head: how many records it had, and the hash of the last one.
        time: when that was, RFC 3339; None if the note does not say.
        successor: the key that continues, which whoever signs the note vouches for; None for all but the last note.
        text: what the signatures sign.
        signatures: by whomever.
    """

    origin: str
    head: Head
    time: str | None
    successor: VerifierKey | None
    text: bytes
    signatures: tuple[Signature, ...]

    def is_signed_by(self, key: VerifierKey) -> bool:
        """Whether one of the signatures is this key's, and right."""
        return is_signed(self.text.decode(), self.signatures, key)


def is_signed(text: str, signatures: Iterable[Signature], key: VerifierKey) -> bool:
    """Whether one of the signatures of a text is this key's, and right."""
    mine = [one for one in signatures if (one.name, one.key_id) == (key.name, key.key_id)]
    return any(key.verifies(text.encode(), one.signature) for one in mine)


def split_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """The text of a signed note, with its line end, and its signatures, which are not verified. Raises NoteError."""
    text, found, rest = note.partition("\n\n")
    if not found:
        raise NoteError("is no signed note: expected a text, an empty line and signatures")
    return f"{text}\n", tuple(_signature(line) for line in rest.rstrip("\n").split("\n"))


def checkpoint_text(origin: str, head: Head, time: str, successor: VerifierKey | None = None) -> str:
    """What is signed."""
    last = f"{_SUCCESSOR}{successor}\n" if successor is not None else ""
    return f"{origin}\n{head.size}\n{base64.b64encode(head.hash).decode()}\n{CHAIN_LINE}\ntime {time}\n{last}"


def parse_checkpoint(note: str) -> Checkpoint:
    """The checkpoint in one signed note; its signatures are not verified. Raises NoteError."""
    text, signatures = split_note(note)
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < len(("origin", "size", "root hash")):
        raise NoteError("is not a checkpoint: expected a name, a number, a hash, an empty line and signatures")
    origin, size, root, *extensions = lines
    head = _decoded(root)
    if not origin or re.fullmatch(r"0|[1-9][0-9]{0,17}", size) is None or len(head) != _HASH_BYTES:
        raise NoteError("is not a checkpoint: its first three lines should be a name, a number and a SHA-256 in Base64")
    if CHAIN_LINE not in extensions:
        raise NoteError(f"is a checkpoint of another kind of log: expected a line {CHAIN_LINE!r}")
    times = [line.removeprefix("time ") for line in extensions if line.startswith("time ")]
    successors = [line.removeprefix(_SUCCESSOR) for line in extensions if line.startswith(_SUCCESSOR)]
    return Checkpoint(
        origin=origin,
        head=Head(int(size), head),
        time=times[0] if times else None,
        successor=VerifierKey.parse(successors[0]) if successors else None,
        text=text.encode(),
        signatures=signatures,
    )


def split_notes(content: str) -> Iterator[str]:
    """The notes of a file that holds one behind the other, an empty line between them.

    A text without signatures is a note too, though nobody signed it. Not so the last one: a crash may have cut it.
    """
    text: str | None = None
    parts = content.split("\n\n")
    for place, part in enumerate(parts):
        signed = part.startswith(_DASH)
        if text is not None and not signed and place < len(parts) - 1:
            yield f"{text}\n"
        if signed and (place < len(parts) - 1 or part.endswith("\n")):
            yield f"{text or ''}\n\n{part.rstrip(_LINE_END)}\n"
        text = None if signed or not part.strip() else part


def written(notes: Iterable[str]) -> str:
    """Notes as `split_notes` takes them apart."""
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
