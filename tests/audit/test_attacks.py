"""An attacker without the key does whatever he likes to the files: what passes is what was written, in order."""

import gzip
import zlib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from listener.audit.chain import Head, chained, head_of, link_of
from listener.audit.files import of_the_trail
from listener.audit.notes import NoteError, SigningKey, VerifierKey, checkpoint_text, split_notes, written
from listener.audit.notices import NOTICE, What, notice
from listener.audit.reading import lines_of
from listener.audit.trail import Trail, TrailOptions
from listener.audit.unsigned import Body, Known, Line
from listener.audit.verdict import Proof, Tolerance, Trust, Verdict
from listener.audit.verify import gather, verify
from listener.model.event import Event
from listener.model.forms import CLOUD_EVENT
from support.events import disposition_event
from support.trail import trail, write

COUNT = 24
LINES, HEAD = trail(COUNT)
TIME = "2026-11-22T09:39:00.123Z"
OURS = SigningKey("host/audit", Ed25519PrivateKey.generate())
HIS_PRIVATE = Ed25519PrivateKey.generate()
HIS = SigningKey("host/audit", HIS_PRIVATE)


def forged(behind: bytes, number: int) -> bytes:
    """A record of his own with a link that fits."""
    event = disposition_event(number, value="Forged")
    return chained(event.to_json(), len(event.data), head_of(behind.removesuffix(b"\n")) or Head())[0] + b"\n"


def rewritten(lines: list[bytes], first: int) -> list[bytes]:
    """Values changed, and the chain made anew, from one line on."""
    head = head_of(lines[first - 1].removesuffix(b"\n")) if first else Head()
    made = []
    for number in range(first, len(lines)):
        event = disposition_event(number + 1, value="Forged")
        line, head = chained(event.to_json(), len(event.data), head or Head())
        made.append(line + b"\n")
    return [*lines[:first], *made]


class Attack:
    """One attacker and the folder; each method is a thing that he does, with two numbers to choose by."""

    def __init__(self, folder: Path, *, files: int, signed: list[int]) -> None:
        self.folder = folder
        write(folder, LINES, files=files)
        self.notes = folder / "trail-0.jsonl.checkpoints"
        heads = [head_of(LINES[size - 1][:-1]) for size in signed]
        self.notes.write_text(written(OURS.sign(checkpoint_text("host/audit", head, TIME)) for head in heads))
        (folder / "trail-0.jsonl.pub").write_text(f"{OURS.verifier}\n")

    def files(self) -> list[Path]:
        return sorted(of_the_trail(self.folder.iterdir()))

    def pick(self, a: int) -> tuple[Path, list[bytes]]:
        files = self.files() or [self.folder / "trail-0.jsonl"]
        path = files[a % len(files)]
        if not path.exists():
            return path, []
        data = path.read_bytes()
        with suppress(OSError, EOFError, zlib.error):  # one that he damaged
            data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        return path, data.splitlines(keepends=True)

    def edit(self, a: int, b: int) -> None:
        path, lines = self.pick(a)
        if lines:
            lines[b % len(lines)] = lines[b % len(lines)].replace(b"IssueResolved", b"IssueReopened")
            path.write_bytes(b"".join(lines))

    def flip(self, a: int, b: int) -> None:
        path, lines = self.pick(a)
        data = bytearray(b"".join(lines))
        if data:
            data[(b * 97) % len(data)] ^= 1 + b % 255
            path.write_bytes(bytes(data))

    def delete_lines(self, a: int, b: int) -> None:
        path, lines = self.pick(a)
        first = b % (len(lines) + 1)
        path.write_bytes(b"".join(lines[:first] + lines[first + 1 + a % 3 :]))

    def cut(self, a: int, b: int) -> None:
        path, lines = self.pick(a)
        data = b"".join(lines)
        path.write_bytes(data[: (b * 131) % (len(data) + 1)])

    def insert(self, a: int, b: int) -> None:
        path, lines = self.pick(a)
        place = b % (len(lines) + 1)
        before = lines[place - 1] if place else LINES[0]
        plain = disposition_event(b, value="Forged").to_json() + b"\n"
        lines.insert(place, [forged(before, b), plain, b"\n", LINES[b % COUNT], b"nonsense\n"][a % 5])
        path.write_bytes(b"".join(lines))

    def move(self, a: int, b: int) -> None:
        path, lines = self.pick(a)
        if lines:
            lines.insert((a * 7) % len(lines), lines.pop(b % len(lines)))
            path.write_bytes(b"".join(lines))

    def rewrite(self, a: int, b: int) -> None:
        path, lines = self.pick(a)
        path.write_bytes(b"".join(rewritten(lines, b % (len(lines) + 1))))

    def strip(self, a: int, _b: int) -> None:
        path, lines = self.pick(a)
        plain = [disposition_event(number + 1).to_json() + b"\n" for number in range(len(lines))]
        path.write_bytes(b"".join(plain))

    def empty(self, a: int, _b: int) -> None:
        self.pick(a)[0].write_bytes(b"")

    def remove(self, a: int, _b: int) -> None:
        self.pick(a)[0].unlink(missing_ok=True)

    def rename(self, a: int, b: int) -> None:
        path, _ = self.pick(a)
        names = ["trail-0.jsonl.20261127T000000Z", "trail-9.jsonl", "trail-0.jsonl.key", "trail-1.jsonl"]
        if path.exists():
            path.rename(self.folder / names[b % len(names)])

    def copy(self, a: int, b: int) -> None:
        path, _ = self.pick(a)
        if path.exists():
            (self.folder / f"copy-{b % 3}.jsonl.20261127T000000Z").write_bytes(path.read_bytes())

    def pack(self, a: int, _b: int) -> None:
        path, lines = self.pick(a)
        path.write_bytes(gzip.compress(b"".join(lines)))

    def join(self, a: int, b: int) -> None:
        path, lines = self.pick(a)
        path.write_bytes(b"".join(lines + self.pick(b)[1]))

    def add_file(self, a: int, b: int) -> None:
        own, _ = trail(1 + b % 5, start=[Head(), HEAD][a % 2])
        (self.folder / "trail-0.jsonl.20261127T000000Z").write_bytes(b"".join(own))

    def spoil_notes(self, a: int, b: int) -> None:
        """His own checkpoints, of what stands there now, instead of ours, beside them, or signed beneath them."""
        notes = list(split_notes(self.notes.read_text(errors="replace"))) if self.notes.exists() else []
        last = next((line for line in reversed(self.pick(b)[1]) if head_of(line.rstrip(b"\n"))), LINES[-1])
        head = head_of(last.rstrip(b"\n")) or HEAD
        mine = HIS.sign(checkpoint_text("host/audit", head, TIME, [None, HIS.verifier][b % 2]))
        borrowed = notes[0].partition("\n\n")[2] if notes else ""
        made = [
            [],
            [mine],
            [*notes, mine],
            notes[b % (len(notes) + 1) :],
            ["\n\n".join((mine.partition("\n\n")[0], borrowed))],
            [note + mine.partition("\n\n")[2] for note in notes],
            ["nonsense", *notes],
        ][a % 7]
        self.notes.write_text(written(made))

    def lose_notes(self, _a: int, _b: int) -> None:
        self.notes.unlink(missing_ok=True)

    def replace_public_key(self, _a: int, _b: int) -> None:
        (self.folder / "trail-0.jsonl.pub").write_text(f"{HIS.verifier}\n")


DEEDS = sorted(name for name in vars(Attack) if not name.startswith("_") and name not in ("files", "pick"))
ATTACKS = st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 40), st.integers(0, 400)), max_size=6)


def lines_at(one) -> list[bytes]:
    """The lines of a stretch, without their ends. A stretch over several files ends each but the last one."""
    files = [one.first.file] if one.first.file == one.last.file else [one.first.file, one.last.file]
    found = [[line.removesuffix(b"\n") for line in lines_of(path)] for path in files]
    if len(files) == 1:
        return found[0][one.first.line - 1 : one.last.line]
    return [*found[0][one.first.line - 1 :], *found[1][: one.last.line]]


def hold(verdict: Verdict, folder: Path) -> None:
    """What a verdict says must be so."""
    written_ones = [line.removesuffix(b"\n") for line in LINES]
    signed = [one for one in verdict.stretches if one.proof is Proof.SIGNED]
    for one in signed:
        assert one.keys == (OURS.verifier.label,)
        assert one.lines == one.records.last - one.records.first + 1
        if len({one.first.file, one.last.file}) == 1 or one.lines == len(lines_at(one)):
            assert lines_at(one) == written_ones[one.records.first : one.records.last + 1]
    assert all(before.records.last < behind.records.first for before, behind in pairwise(signed)), "in order, each once"
    files = of_the_trail(folder.iterdir())
    assert sum(one.lines for one in verdict.stretches) == sum(1 for path in files for _ in lines_of(path))
    if verdict.is_proven():
        (only,) = verdict.stretches
        assert only.records.first == 0
        assert sum(1 for path in files for _ in lines_of(path)) == only.records.last + 1
        assert b"".join(sorted(line for path in files for line in lines_of(path))) == b"".join(
            sorted(LINES[: only.records.last + 1])
        )
    if verdict.is_proven(Tolerance(unsigned=COUNT, unchained=COUNT)):
        assert [one.proof for one in verdict.stretches] in ([Proof.SIGNED], [Proof.SIGNED, Proof.CHAINED])


def play(folder: Path, files: int, signed: list[int], deeds) -> Verdict | None:
    attack = Attack(folder, files=files, signed=signed)
    for name, a, b in deeds:
        getattr(attack, name)(a, b)
    paths = attack.files()
    try:
        verdict = verify(paths, gather(paths, pubkeys=[str(OURS.verifier)]))
    except OSError:  # a packed file that he damaged
        return None
    hold(verdict, folder)
    return verdict


WORLDS = {
    "files": st.integers(1, 3),
    "signed": st.sampled_from([[24], [8, 16, 24], [8, 20], [12], []]),
    "deeds": ATTACKS,
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(**WORLDS)
def test_what_passes_is_what_was_written_whatever_he_does(files, signed, deeds):
    with TemporaryDirectory() as folder:
        play(Path(folder), files, signed, deeds)


@pytest.mark.long
@pytest.mark.timeout(600)  # five seconds of a core
@pytest.mark.parametrize("_thousand", range(10))
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(**WORLDS)
def test_what_passes_is_what_was_written_ten_thousand_times(_thousand, files, signed, deeds):
    with TemporaryDirectory() as folder:
        play(Path(folder), files, signed, deeds)


class Downtime(Attack):
    """The same attacker while the listener is down, which was killed; then it starts again and goes on."""

    def __init__(self, folder: Path, *, signed: int, unsigned: int) -> None:
        self.folder, self.notes = folder, folder / "trail-0.jsonl.checkpoints"
        self.path = folder / "trail-0.jsonl"
        self.journal = [disposition_event(number + 1, chat=f"chat-{number % 7}") for number in range(signed + unsigned)]
        made = self.start()
        self.append(made, self.journal[:signed])
        made.close()
        made = self.start()
        self.append(made, self.journal[signed:])
        made._signer = None
        made.close()
        self.keys = [(folder / "trail-0.jsonl.pub").read_text()]

    def start(self) -> Trail:
        options = TrailOptions(path=self.path, sink="audit", form=CLOUD_EVENT, fsync=False)
        made = Trail(options=options, now=lambda: 1_795_340_340.0)
        made.open()
        return made

    @staticmethod
    def append(made: Trail, events: list[Event]) -> None:
        if events:
            made.append(events)

    def go_on(self, *, oldest: int, more: int) -> None:
        """What the sink does at its start; the journal has no event before `oldest` any more."""
        made = self.start()
        asked = made.doubtful()
        if asked is not None:
            has = {event.sequence: event for event in self.journal if event.sequence >= oldest}
            events = {number: Body(has[number].to_json(), len(has[number].data)) for number in asked if number in has}
            made.settle(Known(events, self.journal[-1].sequence if self.journal else 0))
        made.begin()
        first = len(self.journal) + 1
        self.journal += [disposition_event(number, chat=f"chat-{number % 7}") for number in range(first, first + more)]
        self.append(made, self.journal[first - 1 :])
        made.close()
        self.keys.append((self.folder / "trail-0.jsonl.pub").read_text())

    def lose_key(self, _a: int, _b: int) -> None:
        (self.folder / "trail-0.jsonl.key").unlink(missing_ok=True)

    def plant_key(self, a: int, _b: int) -> None:
        """His own key as the one that takes over, signed by himself, or not at all."""
        note = HIS.sign(f"successor {HIS.verifier}\n")
        pem = HIS_PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "trail-0.jsonl.key.next").write_bytes(pem + [note.encode(), b""][a % 2])

    def append_notice(self, a: int, _b: int) -> None:
        """He introduces his own key, or says that nothing is confirmed."""
        _, lines = self.pick(0)
        head = (head_of(lines[-1].removesuffix(b"\n")) if lines else None) or Head()
        data = [{"key": str(HIS.verifier)}, {"firstRecord": 0, "lastRecord": 1}][a % 2]
        line, _ = notice([What.KEY, What.UNCONFIRMED][a % 2], data, sink="audit", head=head, time_s=1.0)
        with self.path.open("ab") as file:
            file.write(line)


MORE_DEEDS = [*DEEDS, "lose_key", "plant_key", *["append_notice", "insert", "edit"] * 3]
DOWNTIMES = {
    "signed": st.integers(0, 6),
    "unsigned": st.integers(0, 6),
    "oldest": st.integers(1, 8),
    "more": st.integers(0, 3),
    "deeds": st.lists(st.tuples(st.sampled_from(MORE_DEEDS), st.integers(0, 40), st.integers(0, 400)), max_size=4),
}


def outlive(folder: Path, signed: int, unsigned: int, oldest: int, more: int, deeds) -> tuple[Downtime, Verdict | None]:
    down = Downtime(folder, signed=signed, unsigned=unsigned)
    for name, a, b in deeds:
        getattr(down, name)(a, b)
    try:
        down.go_on(oldest=oldest, more=more)
        paths = down.files()
        verdict = verify(paths, gather(paths, pubkeys=down.keys))
    except (OSError, NoteError):  # a packed file that he damaged, or one of his files where the key was
        return down, None
    labels = {VerifierKey.parse(text).label for text in down.keys}
    assert {one.label for one in verdict.keys if one.trust is not Trust.UNKNOWN} <= labels, "nobody else's key"
    true = {event.to_json(): event.sequence for event in down.journal}
    texts = [text for one in verdict.stretches if one.proof is Proof.SIGNED for text in lines_at(one)]
    bodies = [Line(text, link_of(text), None).body for text in texts if not text.startswith(NOTICE)]
    order = [true[body.event] for body in bodies]
    assert len(order) == len(set(order)), "each once"
    assert order == sorted(order) or verdict.findings
    return down, verdict


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(**DOWNTIMES)
def test_the_listener_signs_nothing_but_what_it_delivered(**world):
    with TemporaryDirectory() as folder:
        outlive(Path(folder), **world)


@pytest.mark.long
@pytest.mark.timeout(1200)
@settings(max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(**DOWNTIMES)
def test_the_listener_signs_nothing_but_what_it_delivered_two_thousand_times(**world):
    with TemporaryDirectory() as folder:
        outlive(Path(folder), **world)


def test_a_listener_that_was_only_killed_proves_everything(tmp_path):
    down, verdict = outlive(tmp_path, 3, 4, 1, 2, [])
    assert verdict is not None
    assert (verdict.is_proven(), verdict.signed) == (True, len(down.journal))


def test_a_trail_that_nobody_touched_passes(tmp_path):
    """Or else the property would hold of a verifier that refuses everything."""
    verdict = play(tmp_path, 3, [8, 24], [])
    assert verdict is not None
    assert (verdict.is_proven(), verdict.signed) == (True, COUNT)
