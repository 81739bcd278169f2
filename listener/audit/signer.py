"""Signs the chain now and then, and keeps the signed checkpoints beside the file."""

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

import structlog

from listener.audit.chain import Head
from listener.audit.notes import Checkpoint, NoteError, SigningKey, checkpoint_text, parse_checkpoint, written
from listener.runtime.durable import sync_file, sync_folder

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
        """Read the last checkpoint that this key has signed; mend the file's end. Raises OSError."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        with self._path.open("rb") as file:
            start = file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
        self.last = self._last_of(data.decode("utf-8", "replace"))
        end = max((match.end() for match in _SIGNED.finditer(data)), default=0)
        if data[end:] and (end or not start):
            os.truncate(self._path, start + end)  # what a crash has left of one that was under way
            _log.warning("audit_checkpoints_mended", path=str(self._path), cut_bytes=len(data) - end)

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
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, self._mode)
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
