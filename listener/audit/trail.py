"""The audit trail as its sink sees it: each event once, chained, signed periodically, in files of bounded size."""

import contextlib
import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import structlog

from listener.audit.chain import GENESIS, Head, chain, chained, end_of, head_of, written
from listener.audit.files import NEXT, QUARANTINED, Closed, Paths, lines_before, newest_end
from listener.audit.linefile import CutShortError, LineFile
from listener.audit.notes import NoteError, VerifierKey
from listener.audit.notices import What, digest_of, notice
from listener.audit.reading import lines_backwards, lines_from
from listener.audit.signer import CheckpointSigner, Keys, Successor, signing_key, successor_of, write_whole
from listener.audit.unsigned import Judgement, Known, Tail, judge, ranges, tail_of
from listener.audit.window import DedupWindow, sequence_of
from listener.model.event import Event, rfc3339
from listener.model.forms import Form
from listener.runtime.host import THIS_HOST

_log = structlog.get_logger(__name__)
_ROTATION_RETRY_S = 60.0
_TIME = b',"time":"'


@dataclass(frozen=True, kw_only=True, slots=True)
class TrailOptions:
    """Options of a trail.

    Attributes:
        path: the file; its folder must exist.
        sink: the sink's name, which a new key is named after.
        form: how events are written. Chained lines are CloudEvents.
        mode: permission bits of the files that are made.
        fsync: whether `append` waits for the disk.
        recall: whether lines show sequence and id, so that an event which stands there is not written again.
        chain: whether lines are chained and the chain is signed; needs `recall`.
        must_sign: whether a key that can be neither read nor made is an error.
        key_file: the private key; one is made beside the file where this is None.
        checkpoint_lines: after how many lines the chain is signed.
        checkpoint_s: after how many seconds, where there are any.
        rotate_bytes: the size that a file must not exceed; a batch is not divided.
        rotate_s: the age at which a file is closed.
        compress: whether closed files are packed with gzip.
        keep_files: how many closed files stay; None for all.
        keep_days: for how long they stay after their last line; None for ever.
    """

    path: Path
    sink: str
    form: Form
    mode: int = 0o640
    fsync: bool = True
    recall: bool = True
    chain: bool = True
    must_sign: bool = False
    key_file: Path | None = None
    checkpoint_lines: int = 1000
    checkpoint_s: float = 300.0
    rotate_bytes: int | None = None
    rotate_s: float | None = None
    compress: bool = False
    keep_files: int | None = None
    keep_days: float | None = None


class Hooks(NamedTuple):
    """Callbacks: for each signed note, and when a file was closed."""

    on_signed: Callable[[str], None] = lambda _note: None
    on_closed: Callable[[], None] = lambda: None


_NOBODY = Hooks()


class PartlyAppendedError(OSError):
    """An append failed; `delivered` are the indexes of its events that are in the file nevertheless."""

    def __init__(self, cause: OSError, delivered: frozenset[int]) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.delivered = delivered


@dataclass(slots=True)
class _Clock:
    """Since when the present file is written, and from when on something is due; epoch seconds."""

    now: Callable[[], float]
    file_since: float = 0.0
    unsigned_since: float | None = None
    rotate_not_before: float = field(default=0.0)


class Trail:
    """One file with its chain. Every method blocks; all but `tidy` raise OSError, and one thread uses them.

    Args:
        options: what it is to be.
        hooks: who is told.
        now: epoch seconds, for stamps and ages.
    """

    def __init__(
        self,
        *,
        options: TrailOptions,
        hooks: Hooks = _NOBODY,
        now: Callable[[], float] = THIS_HOST.time_s,
    ) -> None:
        self._options = options
        self._closed = Closed(
            options.path, compress=options.compress, keep_files=options.keep_files, keep_days=options.keep_days
        )
        self._hooks = hooks
        self._clock = _Clock(now)
        self._window = DedupWindow()
        # What is chained is put together with its link, once.
        self._text: Callable[[Event], bytes] = Event.attributes if options.chain else options.form.body
        self._file = LineFile(
            path=options.path,
            mode=options.mode,
            fsync=options.fsync,
            opening=options.form.opening,
            on_leave=self._leave,
        )
        self._signer: CheckpointSigner | None = None
        self._keys: Keys | None = None
        self._tail: Tail | None = None
        self._head = Head()
        self._generation = 0

    @property
    def head(self) -> Head:
        """The chain so far."""
        return self._head

    def open(self) -> None:
        """Open or create the file, and find out where its chain continues.

        Where lines are found that no checkpoint covers, nothing is signed before `settle`.

        Raises:
            NoteError: the key cannot be used; the text names its file.
        """
        fd = self._file.open()
        self._generation = self._file.generation
        if self._options.chain:
            self._signer = self._opened_signer()
            self._head = self._resumed(fd)
            if self._keys is not None and not self._head.size:
                self._keys = self._keys._replace(created=False)  # the first key of a new trail replaces none
        self._remember(fd)
        first = next((line for _, line in lines_from(fd, 0)), b"")
        self._clock.file_since = _time_of(first) or self._clock.now()
        self._note_unsigned()

    def doubtful(self) -> Sequence[int] | None:
        """The sequences, rising, that the journal is to be asked for; None if checkpoints cover all lines."""
        tail = self._tail if self._signer is not None else None
        return tail.sequences if tail is not None and tail.lines else None

    def settle(self, known: Known) -> int:
        """Sign nothing but what the journal delivers; returns how many lines were moved aside.

        Such lines go into a file of their own. That, and what could not be compared, is on record as a notice.

        Args:
            known: what the journal has of the sequences that `doubtful` gave.
        """
        tail, self._tail = self._tail, None
        if tail is None or self._signer is None:
            return 0
        judged = judge(tail, known)
        head, lines = judged.head, []
        for body in judged.kept:
            line, head = chained(body.event, body.data_bytes, head)
            lines.append(line + b"\n")
        for what, data in self._told(tail, judged):
            line, head = self._made(what, data, head)
            lines.append(line)
        if lines:
            self._put_behind(tail, judged.sound, lines)
            self._head = head
            self._sign(head)
        return len(judged.false)

    def begin(self) -> None:
        """Put on record that another key signs than before, and exchange it where its successor lies beside it.

        A successor is signed by the key that it replaces. To be called when all that stands there may be signed.
        """
        keys, signer = self._keys, self._signer if self.doubtful() is None else None
        path = self._options.key_file or Paths(self._options.path).key
        if keys is None or signer is None:
            return
        if keys.before is not None or keys.created:
            before = str(keys.before) if keys.before is not None else None
            self._append_notice(What.KEY, {"key": str(keys.verifier), "previous": before, "introduced": False})
            self._sign(self._head)
        self._keys = keys._replace(created=False, before=None)
        try:
            successor = successor_of(path, present=keys.verifier)
        except (NoteError, OSError) as exc:
            effect = "the present key continues; remove that file"
            _log.error("audit_key_refused", sink=self._options.sink, reason=str(exc), effect=effect)
            return
        if successor is not None:
            self._hand_over(signer, keys.verifier, successor, path)

    def close(self) -> None:
        """Sign what is not signed yet, and let go. Idempotent."""
        self._sign(self._head)
        self._signer = None
        self._file.close()

    def probe(self) -> None:
        """Raise what `open` would, without creating or changing anything."""
        self._file.probe()

    def append(self, events: Sequence[Event]) -> None:
        """Return once every event stands in the file, durably. What stands there already is not written again.

        Args:
            events: in journal order.

        Raises:
            PartlyAppendedError: it failed, at first or in the middle.
        """
        texts = [self._text(event) for event in events]
        known: frozenset[int] = frozenset()
        fresh: Sequence[int] = ()
        try:
            begun = self._complete()
            fresh = self._fresh(events, texts, begun)
            if len(fresh) < len(events):
                known = frozenset(range(len(events))) - set(fresh)
                events, texts = [events[index] for index in fresh], [texts[index] for index in fresh]
                if self._options.fsync:
                    self._file.sync()
            if events:
                late = events[0].sequence <= self._window.highest
                self._rotate_if_due(self._bytes(events, texts) if self._options.rotate_bytes is not None else 0)
                self._write(events, texts)
                if late:
                    self._sign(self._head)  # at once, since the journal may have no copy of them any more
        except CutShortError as exc:
            raise PartlyAppendedError(exc, known.union(fresh[: exc.whole])) from exc
        self.tick()

    def reopen(self) -> None:
        """The file may have been renamed: reopen it, and sign the old one's end. A new key is taken, too."""
        self._current()
        self.begin()

    def tick(self) -> None:
        """Do what is due by now."""
        if self._signer is None:
            return
        now = self._clock.now()
        self._note_unsigned()
        since = self._clock.unsigned_since
        many = self._unsigned >= self._options.checkpoint_lines
        if many or (since is not None and now >= since + self._options.checkpoint_s):
            self._sign(self._head)

    def idle(self) -> None:
        """As `tick`, and close a file that is old enough."""
        self._current()
        self._rotate_if_due(0)
        self.tick()

    def tidy(self, stopped: Callable[[], bool]) -> None:
        """Compress and delete closed files as `Closed.tidy` does, in whatever thread. Blocks, and raises nothing."""
        self._closed.tidy(self._clock.now(), stopped)

    def due_in_s(self) -> float | None:
        """Seconds until `idle` should be called; None if nothing will be due."""
        due = []
        if self._clock.unsigned_since is not None:
            due.append(self._clock.unsigned_since + self._options.checkpoint_s)
        if self._options.rotate_s is not None and self._file.size:
            due.append(max(self._clock.file_since + self._options.rotate_s, self._clock.rotate_not_before))
        return max(0.0, min(due) - self._clock.now()) if due else None

    def _opened_signer(self) -> CheckpointSigner | None:
        """None if nothing can be made beside the file, and no chain was asked for: lines come before their proof."""
        options, paths = self._options, Paths(self._options.path)
        try:
            self._keys = signing_key(options.key_file or paths.key, public=paths.public_key, sink=options.sink)
            signer = CheckpointSigner(
                path=paths.checkpoints,
                key=self._keys.signing,
                mode=options.mode,
                now=lambda: rfc3339(int(self._clock.now() * 1000)),
                on_signed=self._hooks.on_signed,
            )
            signer.open()
        except OSError as exc:
            if options.must_sign or exc.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            told = {"path": str(options.path), "reason": exc.strerror}
            _log.error("audit_not_signed", **told, effect="lines are chained, but no checkpoints are made")
            return None
        return signer

    def _resumed(self, fd: int) -> Head:
        """The chain's head: in the file, in one that was rotated away, or where the last checkpoint says it is.

        Nothing is ever signed that contradicts a checkpoint: what it covers and is no longer there stays missing.
        """
        found = end_of(line for _, line in lines_backwards(fd)) or newest_end(self._options.path) or Head()
        if self._signer is None:
            return found
        signed = self._signer.last
        self._tail = tail = tail_of(self._options.path, fd, signed)
        if found == signed or (found.size > signed.size and (tail.follows or not signed.size)):
            return found
        effect = "the chain continues after what was signed; audit verify says what is missing"
        told = {"path": str(self._options.path), "signed": signed.size, "found": found.size}
        _log.error("audit_records_missing", **told, effect=effect)
        return signed

    def _remember(self, fd: int) -> None:
        if self._options.recall:
            self._window.start(fd, lambda count: lines_before(self._options.path, fd, count))

    def _told(self, tail: Tail, judged: Judgement) -> Iterator[tuple[What, dict[str, Any]]]:
        """What has to be on record of a tail. Lines that do not stay are on the disk elsewhere before."""
        behind = tail.base.size if tail.whole or self._signer is None else self._signer.last.size
        for first, last in ranges(range(behind, tail.base.size), judged.unconfirmed):
            _log.error("audit_records_unconfirmed", path=str(self._options.path), first=first, last=last)
            yield What.UNCONFIRMED, {"firstRecord": first, "lastRecord": last}
        if judged.false:
            moved = b"".join(line.text + b"\n" for line in judged.false)
            digest = digest_of(moved)
            place = self._options.path.with_name(f"{self._options.path.name}{QUARANTINED}{digest[:12]}")
            with contextlib.suppress(FileExistsError):  # a crash came before the lines were taken away
                write_whole(place, moved, self._options.mode, replace=False)
            told = {"file": place.name, "lines": len(judged.false)}
            effect = "the journal never delivered these lines: they were moved there and are not signed"
            _log.error("audit_lines_quarantined", path=str(self._options.path), **told, effect=effect)
            closed = sum(line.offset is None for line in judged.false)
            yield What.QUARANTINED, {**told, "sha256": digest, "inClosedFiles": closed}

    def _put_behind(self, tail: Tail, sound: int, lines: Sequence[bytes]) -> None:
        """Write lines behind the first ones of a tail, in the place of the others that stand in this file."""
        cut = next((line.offset for line in tail.lines[sound:] if line.offset is not None), None)
        if cut is None:
            self._file.append(lines)
        else:
            self._file.replace_end(cut, b"".join(lines))
            self._generation = self._file.generation
        self._remember(self._file.current())

    def _made(self, what: What, data: dict[str, Any], head: Head) -> tuple[bytes, Head]:
        return notice(what, data, sink=self._options.sink, head=head, time_s=self._clock.now())

    def _append_notice(self, what: What, data: dict[str, Any]) -> None:
        line, head = self._made(what, data, self._chain_end())
        self._file.append([line])
        self._head = head

    def _chain_end(self) -> Head:
        """What the next record follows: the first one of a chain names what stands in its file before it."""
        return self._head if self._head.size else Head(0, self._file.digest() or GENESIS)

    def _hand_over(self, signer: CheckpointSigner, before: VerifierKey, successor: Successor, path: Path) -> None:
        key = str(successor.key.verifier)
        self._append_notice(What.KEY, {"key": key, "previous": str(before), "introduced": True})
        self._file.sync()
        if not signer.hand_over(successor.key, self._head):
            return
        write_whole(path, successor.pem, 0o600, replace=True)
        path.with_name(path.name + NEXT).unlink()
        write_whole(Paths(self._options.path).public_key, f"{key}\n".encode(), 0o644, replace=True)
        self._keys = Keys(successor.key, created=False)
        _log.info("audit_key_rotated", sink=self._options.sink, public_key=key)

    def _current(self) -> int:
        fd = self._file.current()
        self._notice(self._head)
        return fd

    def _notice(self, head: Head) -> None:
        """Where the file is another one than before, or an empty one again: `head` is what the last one ended with."""
        if self._file.generation != self._generation:
            self._generation = self._file.generation
            self._clock.file_since = self._clock.now()
            self._sign(head)
            self._hooks.on_closed()

    def _leave(self, fd: int) -> None:
        self._window.leave(fd)
        self._file.sync()

    def _complete(self) -> bytes:
        """Write the rest of a line whose append failed in its middle; returns it, empty mostly."""
        self._current()
        before = self._head
        begun = self._file.complete()
        if begun:
            self._head = head_of(begun[:-1]) or before
            self._window.note(sequence_of(begun))
            self._notice(before)
        return begun

    def _fresh(self, events: Sequence[Event], texts: Sequence[bytes], begun: bytes) -> Sequence[int]:
        """The indexes of the events that do not stand there; `begun` is the line that was completed just now."""
        if self._options.recall:
            return self._window.fresh(events, texts, self._file.current)
        return range(int(begun[:-1] == texts[0]), len(events))

    def _write(self, events: Sequence[Event], texts: Sequence[bytes]) -> None:
        """Append the events as lines; the chain continues from what is really there, also where that fails."""
        before = self._chain_end() if self._options.chain else self._head
        lines, self._head = self._lines(events, texts, before)
        try:
            self._file.append(lines, has_looked=True)
        except CutShortError as exc:
            newest = lines[exc.whole - 1] if exc.whole else b""
            self._head = head_of(newest[:-1]) or before
            self._window.note(sequence_of(newest))
            raise
        self._window.note(events[-1].sequence)
        self._notice(before)

    def _lines(self, events: Sequence[Event], texts: Sequence[bytes], head: Head) -> tuple[Sequence[bytes], Head]:
        if self._options.chain:
            texts, head = chain([(text, event.data) for event, text in zip(events, texts, strict=True)], head)
        return [text + b"\n" for text in texts], head

    def _bytes(self, events: Sequence[Event], texts: Sequence[bytes]) -> int:
        """How many they add to the file, give or take a digit of their places."""
        size = sum(map(len, texts)) + len(texts)
        if self._options.chain:
            size += sum([len(event.data) for event in events]) + len(texts) * len(written(self._head) + b"}")
        return size

    def _rotate_if_due(self, more_bytes: int) -> None:
        """Close the file if it is too large or too old. If that fails, it keeps growing."""
        options, now, size = self._options, self._clock.now(), self._file.size
        large = options.rotate_bytes is not None and size + more_bytes > options.rotate_bytes and more_bytes
        old = options.rotate_s is not None and now >= self._clock.file_since + options.rotate_s
        if not size or not (large or old) or now < self._clock.rotate_not_before:
            return
        try:
            self._leave(self._file.current())
            place = self._closed.close(now)
        except OSError as exc:
            self._clock.rotate_not_before = now + _ROTATION_RETRY_S
            _log.warning("audit_file_not_rotated", path=str(options.path), reason=exc.strerror or str(exc))
            return
        _log.info("audit_file_rotated", path=str(place), bytes=size)
        self._current()

    @property
    def _unsigned(self) -> int:
        return self._head.size - self._signer.last.size if self._signer is not None else 0

    def _note_unsigned(self) -> None:
        if not self._unsigned:
            self._clock.unsigned_since = None
        elif self._clock.unsigned_since is None:
            self._clock.unsigned_since = self._clock.now()

    def _sign(self, head: Head) -> None:
        """What is signed is on the disk, whatever `fsync` says of the rest."""
        if self._signer is None or not self._unsigned or self.doubtful() is not None:
            return
        if not self._options.fsync:
            self._file.sync()
        self._signer.sign(head)
        self._clock.unsigned_since = None
        self._note_unsigned()


def _time_of(line: bytes) -> float | None:
    """An event's own time, as epoch seconds; None if it has none that can be read."""
    place = line.find(_TIME) + len(_TIME)
    try:
        return datetime.fromisoformat(line[place : line.find(b'"', place)].decode("ascii")).timestamp()
    except ValueError:
        return None
