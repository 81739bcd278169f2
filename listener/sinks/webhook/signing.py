"""Signatures of Standard Webhooks 1.0: `v1` is HMAC-SHA256, `v1a` Ed25519, one for each key."""

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from listener.config.schema import text_in
from listener.errors import Retry

SigningKey = Callable[[bytes], str]
"""Signs a content; returns one entry of the header, `v1,<base64>`."""

_SEED_BYTES = 32
_SYMMETRIC_BYTES = range(24, 65)


def signing_key(secret: str) -> SigningKey:
    """The key that a secret stands for: `whsec_` before a symmetric one, `whsk_` before an Ed25519 private key.

    Behind the prefix is base64, padded or not. An Ed25519 key is its seed, with or without its public half behind it.

    Raises:
        ValueError: it stands for none; the text does not quote it.
    """
    prefix, underscore, encoded = secret.partition("_")
    content = _decoded(encoded)
    match prefix + underscore:
        case "whsec_" if len(content) in _SYMMETRIC_BYTES:
            return lambda signed: f"v1,{_encoded(hmac.new(content, signed, hashlib.sha256).digest())}"
        case "whsec_":
            raise ValueError(f"a whsec_ secret is base64 of 24 to 64 bytes, this one has {len(content)}")
        case "whsk_":
            private = _private_key(content)
            return lambda signed: f"v1a,{_encoded(private.sign(signed))}"
    raise ValueError("a signing secret must begin with whsec_ (HMAC-SHA256) or whsk_ (Ed25519)")


def keys_in(file: Path, text: str) -> tuple[SigningKey, ...]:
    """The keys of the secrets in the text of a file, one a line. Raises ValueError, with the line."""
    keys = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            keys += [signing_key(secret) for secret in line.split()]
        except ValueError as exc:
            raise ValueError(f"{file}, line {number}: {exc}") from None
    if not keys:
        raise ValueError(f"{file} is empty")
    return tuple(keys)


def _private_key(content: bytes) -> Ed25519PrivateKey:
    seed, public = content[:_SEED_BYTES], content[_SEED_BYTES:]
    if len(seed) != _SEED_BYTES or len(public) not in (0, _SEED_BYTES):
        raise ValueError(f"a whsk_ secret is base64 of 32 or 64 bytes, this one has {len(content)}")
    private = Ed25519PrivateKey.from_private_bytes(seed)
    if public and private.public_key().public_bytes_raw() != public:
        raise ValueError("the halves of the whsk_ secret do not match")
    return private


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a signing secret must be base64 after its prefix") from None


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def signature(keys: Sequence[SigningKey], *, message_id: str, timestamp: str, body: bytes) -> str:
    """The value of `webhook-signature`: a signature of each key over `{id}.{timestamp}.{body}`."""
    content = b".".join((message_id.encode(), timestamp.encode(), body))
    return " ".join(key(content) for key in keys)


class SigningKeys:
    """The keys of one sink: those written in the configuration, and those in files, which may change at any time.

    Args:
        secrets: as configured, checked.
        files: each holds one secret a line.
        setting: the name of the setting that lists the files.
    """

    def __init__(self, *, secrets: Sequence[str], files: Sequence[Path], setting: str) -> None:
        self._configured = tuple(signing_key(secret) for secret in secrets)
        self._files = tuple(files)
        self._setting = setting
        self._read: dict[Path, tuple[str, tuple[SigningKey, ...]]] = {}

    async def now(self) -> tuple[SigningKey, ...]:
        """The keys of this moment, the files reread.

        Raises:
            Retry: a file cannot be read or holds no usable secret: it may be in the middle of a rotation.
        """
        if not self._files:
            return self._configured
        return (*self._configured, *await asyncio.to_thread(self._all_of_files))

    def _all_of_files(self) -> list[SigningKey]:
        return [key for path in self._files for key in self._of_file(path)]

    def _of_file(self, path: Path) -> tuple[SigningKey, ...]:
        try:
            text = text_in(path)
            if path not in self._read or self._read[path][0] != text:
                self._read[path] = text, keys_in(path, text)
        except (OSError, ValueError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise Retry(f"{self._setting}: no secret in {path}: {why}") from None
        return self._read[path][1]
