"""Signs the chain periodically: the key, created once for its owner alone, and the file of signed checkpoints."""

import contextlib
import errno
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from listener.audit.chain import Head
from listener.audit.notes import (
    Checkpoint,
    NoteError,
    SigningKey,
    VerifierKey,
    checkpoint_text,
    parse_checkpoint,
    written,
)
from listener.runtime.durable import sync_file, sync_folder
from listener.runtime.owned import open_owned, require_owned

_log = structlog.get_logger(__name__)
_TAIL_BYTES = 64 * 1024
_SIGNED = re.compile(b"\n\xe2\x80\x94 [^\n]+\n\n")  # the end of a note, and the empty line behind it


class CheckpointSigner:
    """The file of checkpoints. Every method blocks.

    Trouble with it is told once in a row of failures, and holds up nothing: the records are chained and durable, and
    the next checkpoint covers them as well.

    Args:
        path: the file of checkpoints.
        key: what signs, under the name of the log.
        mode: permission bits of a new file.
        now: RFC 3339 of this moment.
        on_signed: gets each note.
    """

    def __init__(
        self,
        *,
        path: Path,
        key: SigningKey,
        mode: int,
        now: Callable[[], str],
        on_signed: Callable[[str], None] = lambda _note: None,
    ) -> None:
        self._path = path
        self._key = key
        self._mode = mode
        self._now = now
        self._on_signed = on_signed
        self._failing = False
        self.last = Head()

    def open(self) -> None:
        """Read the last checkpoint that this key has signed; repair the file's end. Raises OSError."""
        try:
            fd = open_owned(self._path, os.O_RDWR)
        except FileNotFoundError:
            return
        with os.fdopen(fd, "r+b") as file:
            start = file.seek(max(0, os.fstat(fd).st_size - _TAIL_BYTES))
            data = file.read()
            self.last = self._last_of(data.decode("utf-8", "replace"))
            end = max((match.end() for match in _SIGNED.finditer(data)), default=0)
            is_torn = bool(data[end:]) and bool(end or not start)
            if is_torn:
                file.truncate(start + end)  # what a crash has left of one that was under way
        if is_torn:
            _log.warning("audit_checkpoints_repaired", path=str(self._path), cut_bytes=len(data) - end)

    def sign(self, head: Head) -> None:
        """Sign the head of a chain whose records are on the disk, unless the last checkpoint says as much."""
        if head.size <= self.last.size:
            return
        verifier = self._key.verifier
        note = self._key.sign(checkpoint_text(verifier.name, head, self._now()))
        try:
            self._append(written([note]).encode())
        except OSError as exc:
            self._report(exc)
            return
        self._failing, self.last = False, head
        self._on_signed(note)

    def _last_of(self, text: str) -> Head:
        """The head in the last of the notes that this key has signed."""
        parts = text.split("\n\n")
        for place in range(len(parts) - 1, 0, -1):
            with contextlib.suppress(NoteError):
                found: Checkpoint = parse_checkpoint(f"{parts[place - 1]}\n\n{parts[place]}\n")
                if found.is_signed_by(self._key.verifier):
                    return found.head
        return Head()

    def _append(self, notes: bytes) -> None:
        """All of it, or nothing."""
        created = not self._path.exists()
        fd = open_owned(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, self._mode)
        try:
            size = os.fstat(fd).st_size
            if created:
                os.fchmod(fd, self._mode)
            try:
                while notes:
                    notes = notes[os.write(fd, notes) :]
                sync_file(fd)
            except OSError:
                os.ftruncate(fd, size)
                raise
        finally:
            os.close(fd)
        if created:
            sync_folder(self._path.parent)

    def _report(self, exc: OSError) -> None:
        if not self._failing:
            _log.warning("audit_checkpoint_not_written", path=str(self._path), reason=exc.strerror or str(exc))
        self._failing = True


def signing_key(path: Path, *, public: Path, sink: str) -> SigningKey:
    """The key of a sink's file, made at its first start. Its name, that of the log for good, is kept with `public`.

    Raises:
        OSError: a file cannot be read or written.
        NoteError: as `load_or_create`.
    """
    name = f"{re.sub(r'[^A-Za-z0-9.-]', '-', socket.gethostname())}/disposition-listener/{sink}"
    before = None
    require_owned(public)
    with contextlib.suppress(OSError, NoteError):
        before = VerifierKey.parse(public.read_text(encoding="utf-8", errors="replace"))
    key, created = load_or_create(path, name=before.name if before is not None else name, public=public)
    told = {"sink": sink, "key_file": str(path), "public_key": str(key.verifier)}
    if created:
        _log.info("audit_key_created", **told)
    if before is not None and before != key.verifier:
        effect = "audit verify needs the previous public key for older checkpoints"
        _log.warning("audit_key_changed", **told, before=str(before), effect=effect)
    return key


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
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        _write(path, pem, 0o600, replace=False)
    signing = SigningKey(name, load(path))
    text = f"{signing.verifier}\n"
    if not public.exists() or public.read_text(encoding="utf-8") != text:
        _write(public, text.encode(), 0o644, replace=True)
    return Keys(signing, created)


def load(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file, to which a configured path may be a link.

    Raises:
        OSError: it cannot be read, or other users can have made or read it.
        NoteError: it holds no Ed25519 key.
    """
    with os.fdopen(open_owned(path.resolve(), os.O_RDONLY), "rb") as file:
        _keep_private(path, file.fileno())
        pem = file.read()
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as exc:  # TypeError: it is encrypted
        raise NoteError(f"{path} contains no unencrypted private key in PEM form") from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise NoteError(f"{path} contains a key that is not Ed25519")
    return key


def _keep_private(path: Path, fd: int) -> None:
    """Take a key of ours from others' eyes, as a volume's group has it; refuse one whose mode is not ours to change."""
    found = os.fstat(fd)
    if found.st_uid == os.geteuid() and found.st_mode & 0o077:
        os.fchmod(fd, 0o600)
        _log.warning("audit_key_permissions_narrowed", key_file=str(path), mode="0600")
    elif found.st_uid != os.geteuid() and found.st_mode & 0o027:
        raise OSError(errno.EINVAL, "other users can read or write it", str(path))


def _write(path: Path, content: bytes, mode: int, *, replace: bool) -> None:
    """Whole and durable, or not at all. Raises FileExistsError if it must not replace anything."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(fd, "wb") as file:
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
