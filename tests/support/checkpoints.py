"""A verifier of checkpoints that shares no code with the one that is shipped, as an auditor might write it.

From c2sp.org/signed-note and c2sp.org/tlog-checkpoint; `cryptography` for Ed25519, nothing else.
"""

import base64
import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def checkpoints(path: Path, vkey: str) -> list[tuple[str, int, bytes]]:
    """Origin, size and root hash of every checkpoint of a file; raises where one is not signed by the key."""
    name, key_hash, encoded = vkey.strip().split("+", 2)
    key = base64.b64decode(encoded)
    assert key[0] == 1, "Ed25519"
    assert hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8] == key_hash
    found = []
    lines = path.read_text(encoding="utf-8").split("\n")
    while "" in lines and lines != [""]:
        cut = lines.index("")
        text, signature = lines[:cut], lines[cut + 1]
        lines = lines[cut + 3 :]
        dash, signer, blob = signature.split(" ")
        raw = base64.b64decode(blob)
        assert (dash, signer, raw[:4].hex()) == ("\u2014", name, key_hash)
        Ed25519PublicKey.from_public_bytes(key[1:]).verify(raw[4:], ("\n".join(text) + "\n").encode())
        found.append((text[0], int(text[1]), base64.b64decode(text[2])))
    return found


def chain_holds(path: Path, size: int, root: bytes) -> bool:
    """Whether so many lines of a file make a chain that ends in this hash."""
    before = bytes(32)
    for line in path.read_bytes().split(b"\n")[:size]:
        if before.hex().encode() not in line:
            return False
        before = hashlib.sha256(line).digest()
    return before == root
