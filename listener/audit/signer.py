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
from listener.audit.files import NEXT
from listener.audit.notes import (
    Checkpoint,
    NoteError,
    SigningKey,
    VerifierKey,
    checkpoint_text,
    is_signed,
    load_verifier,
    parse_checkpoint,
    split_note,
    written,
)
from listener.runtime.durable import sync_file, sync_folder
from listener.runtime.owned import open_owned, require_owned

_log = structlog.get_logger(__name__)
_TAIL_BYTES = 64 * 1024
_SUCCESSOR = "successor "
_PEM_END = b"-----END PRIVATE KEY-----\n"
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

    def hand_over(self, key: SigningKey, head: Head) -> bool:
        """Sign a head and the key that signs from now on, with either key; returns whether that is on the disk."""
        verifier = self._key.verifier
        text = checkpoint_text(verifier.name, head, self._now(), key.verifier)
        note = self._key.sign(text) + key.sign(text).partition("\n\n")[2]
        try:
            self._append(written([note]).encode())
        except OSError as exc:
            self._report(exc)
            return False
        self._failing, self.last, self._key = False, head, key
        self._on_signed(note)
        return True

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


class Successor(NamedTuple):
    """A key that waits beside another one, to take its place."""

    key: SigningKey
    pem: bytes


def make_successor(path: Path, *, public: Path) -> VerifierKey:
    """Make the key that is to take the place of a sink's key, beside that; returns its public half.

    The present key signs it, so that nobody can put one there who does not have that. The sink takes it at its next
    start or SIGHUP.

    Args:
        path: the present key.
        public: its public half.

    Raises:
        FileExistsError: there is one that was not taken yet.
        OSError: a file cannot be read or written.
        NoteError: the present key cannot be used.
    """
    present = SigningKey(load_verifier(str(public)).name, load(path))
    owner, draft = path.stat(), path.with_name(path.name + NEXT)
    private = Ed25519PrivateKey.generate()
    successor = SigningKey(present.verifier.name, private).verifier
    write_whole(draft, _pem(private) + present.sign(f"{_SUCCESSOR}{successor}\n").encode(), 0o600, replace=False)
    if os.geteuid() == 0:
        os.chown(draft, owner.st_uid, owner.st_gid)  # the sink has to read it
    return successor


def successor_of(path: Path, *, present: VerifierKey) -> Successor | None:
    """The key that waits beside another one; None if there is none.

    Raises:
        OSError: it cannot be read.
        NoteError: it is none, or the present key did not sign it.
    """
    draft = path.with_name(path.name + NEXT)
    try:
        start, end, note = _read(draft, draft).partition(_PEM_END)
    except FileNotFoundError:
        return None
    key = SigningKey(present.name, _parsed(start + end, draft))
    try:
        text, signatures = split_note(note.decode("utf-8", "replace"))
    except NoteError as exc:
        raise NoteError(f"{draft} is not signed: behind the key it {exc}") from exc
    if text != f"{_SUCCESSOR}{key.verifier}\n" or not is_signed(text, signatures, present):
        raise NoteError(f"{draft} is not signed by {present.label}")
    return Successor(key, start + end)


class Keys(NamedTuple):
    """A key that is ready to sign.

    Attributes:
        signing: the key.
        created: whether it was made just now.
        before: another key whose public half lay there until now; None without.
    """

    signing: SigningKey
    created: bool
    before: VerifierKey | None = None

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return self.signing.verifier


def signing_key(path: Path, *, public: Path, sink: str) -> Keys:
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
    key, created, _ = load_or_create(path, name=before.name if before is not None else name, public=public)
    told = {"sink": sink, "key_file": str(path), "public_key": str(key.verifier)}
    if created:
        _log.info("audit_key_created", **told)
    if before is None or before == key.verifier:
        return Keys(key, created)
    effect = "audit verify needs both public keys, since the previous one has not signed this one"
    _log.warning("audit_key_changed", **told, before=str(before), effect=effect)
    return Keys(key, created, before)


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
        write_whole(path, _pem(Ed25519PrivateKey.generate()), 0o600, replace=False)
    signing = SigningKey(name, load(path))
    text = f"{signing.verifier}\n"
    if not public.exists() or public.read_text(encoding="utf-8") != text:
        write_whole(public, text.encode(), 0o644, replace=True)
    return Keys(signing, created)


def _pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file, to which a configured path may be a link.

    Raises:
        OSError: it cannot be read, or other users can have made or read it.
        NoteError: it holds no Ed25519 key.
    """
    return _parsed(_read(path.resolve(), path), path)


def _read(place: Path, path: Path) -> bytes:
    with os.fdopen(open_owned(place, os.O_RDONLY), "rb") as file:
        _keep_private(path, file.fileno())
        return file.read()


def _parsed(pem: bytes, path: Path) -> Ed25519PrivateKey:
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


def write_whole(path: Path, content: bytes, mode: int, *, replace: bool) -> None:
    """Write a file whole and durably, or not at all. Raises OSError; FileExistsError if it must not replace any."""
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
