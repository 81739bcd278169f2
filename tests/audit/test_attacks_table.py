"""Every row of the table of attacks in `docs/audit-trail.md` is done, and `audit verify` says what the table says."""

import re
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from listener.audit.chain import Head, chained, head_of
from listener.audit.files import of_the_trail
from listener.audit.notes import SigningKey, checkpoint_text, split_notes, written
from listener.audit.notices import What
from listener.audit.signer import load
from listener.audit.trail import Trail, TrailOptions
from listener.audit.unsigned import Body, Known
from listener.audit.verdict import Trust
from listener.audit.verify import gather, verify
from listener.model.forms import CLOUD_EVENT
from support.events import disposition_event

PAGE = Path(__file__).parents[2] / "docs" / "audit-trail.md"
TIME = "2026-11-22T09:39:00.123Z"
COUNT = 12


class World:
    """A trail of twelve events, signed after each four; its key and checkpoints as somebody keeps them elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "host"
        self.folder.mkdir()
        self.path = self.folder / "audit.jsonl"
        self.journal = [disposition_event(number, chat=f"chat-{number}") for number in range(1, COUNT + 1)]
        made = self.start()
        for event in self.journal:
            made.append([event])
        made.close()
        self.kept = folder / "kept"
        shutil.copy(f"{self.path}.checkpoints", self.kept)
        self.pubkey = Path(f"{self.path}.pub").read_text()
        self.name = self.pubkey.split("+")[0]

    def start(self) -> Trail:
        """The listener's start, with its journal."""
        options = TrailOptions(path=self.path, sink="audit", form=CLOUD_EVENT, checkpoint_lines=4)
        made = Trail(options=options, now=lambda: 1_795_340_340.0)
        made.open()
        if made.doubtful() is not None:
            events = {event.sequence: Body(event.to_json(), len(event.data)) for event in self.journal}
            made.settle(Known(events, len(self.journal)))
        made.begin()
        return made

    def go_on(self, *, value: str = "IssueResolved") -> None:
        """Start, deliver one more event, and stop."""
        made = self.start()
        self.journal.append(disposition_event(len(self.journal) + 1, value=value))
        made.append(self.journal[-1:])
        made.close()

    def lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True)

    def put(self, lines: list[bytes]) -> None:
        self.path.write_bytes(b"".join(lines))

    def forge(self, count: int, head: Head | None = None) -> list[bytes]:
        """So many records of somebody's own, behind a head."""
        made, head = [], head or Head()
        for number in range(count):
            event = disposition_event(head.size + 1, chat=f"chat-{number}", value="Forged")
            line, head = chained(event.to_json(), len(event.data), head)
            made.append(line + b"\n")
        return made

    def sign(self, key: SigningKey) -> None:
        """Checkpoints of what stands there, in the place of the others."""
        head = head_of(self.lines()[-1][:-1])
        self.notes.write_text(written([key.sign(checkpoint_text(self.name, head, TIME))]))

    @property
    def notes(self) -> Path:
        return self.path.with_name("audit.jsonl.checkpoints")

    @property
    def key(self) -> Path:
        return self.path.with_name("audit.jsonl.key")

    def own_key(self) -> SigningKey:
        return SigningKey(self.name, load(self.key))

    def outcome(self, *, kept: bool) -> str:
        """In the words of the table."""
        files = of_the_trail(self.folder.iterdir())
        verdict = verify(files, gather(files, pubkeys=[self.pubkey], checkpoints=[self.kept] if kept else []))
        if verdict.findings:
            return "found: " + ", ".join(sorted({str(one.kind) for one in verdict.findings}))
        if not verdict.is_proven():
            return "not proven"
        if (self.folder / "audit.jsonl.key.next").exists():
            assert [one.trust for one in verdict.keys] == [Trust.GIVEN]
            return "nothing is taken"
        if list(self.folder.glob("*.quarantined-*")):
            assert What.QUARANTINED.encode() in self.path.read_bytes()
            return "moved aside"
        return "nothing"


def head(world: World, size: int = COUNT) -> Head:
    found = head_of(world.lines()[size - 1][:-1])
    assert found is not None
    return found


def edit(world):
    world.put(
        [line.replace(b"IssueResolved", b"IssueReopened") if n == 5 else line for n, line in enumerate(world.lines())]
    )


def put_in(world):
    lines = world.lines()
    world.put([*lines[:6], *world.forge(1, head(world, 6)), *lines[6:]])


def add_file(world):
    event = disposition_event(3, value="Forged")
    world.path.with_name("audit.jsonl.20261127T000000Z").write_bytes(event.to_json() + b"\n")


def delete_lines(world):
    world.put([*world.lines()[:5], *world.lines()[8:]])


def move(world):
    lines = world.lines()
    world.put([*lines[:3], *lines[4:8], lines[3], *lines[8:]])


def append(world):
    world.put([*world.lines(), *world.forge(2, head(world))])


def chain_anew(world):
    world.put(world.forge(COUNT))
    world.notes.unlink()


def sign_anew(world):
    world.put(world.forge(COUNT))
    world.sign(SigningKey(world.name, Ed25519PrivateKey.generate()))


def unchain(world):
    world.put([event.to_json() + b"\n" for event in world.journal])
    world.notes.unlink()


def cut(world):
    world.put(world.lines()[:8])
    world.notes.write_text(written(list(split_notes(world.notes.read_text()))[:2]))


def begin_anew(world):
    world.path.unlink()
    world.notes.unlink()
    world.journal.clear()
    world.go_on()


def append_while_down(world):
    append(world)
    world.start().close()


def delete_key(world):
    world.key.unlink()
    world.go_on()


def replace_key(world):
    world.key.unlink()
    world.start().close()
    world.go_on()


def plant_next_key(world):
    own = Ed25519PrivateKey.generate()
    signing = SigningKey(world.name, own)
    pem = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = world.key.with_name("audit.jsonl.key.next")
    draft.write_bytes(pem + signing.sign(f"successor {signing.verifier}\n").encode())
    world.go_on()


def write_anew(world):
    key = world.own_key()
    world.put(world.forge(COUNT))
    world.sign(key)


def continue_it(world):
    world.put([*world.lines(), *world.forge(2, head(world))])
    world.sign(world.own_key())


def use_host(world):
    world.go_on(value="Forged")


DEEDS = {
    "edits a line": edit,
    "puts a line in": put_in,
    "adds a file of lines without a chain": add_file,
    "deletes lines": delete_lines,
    "moves a line": move,
    "appends lines that are chained": append,
    "makes the chain anew, and deletes the checkpoints": chain_anew,
    "makes the chain anew, and signs it with a key of his own": sign_anew,
    "takes the chain away": unchain,
    "cuts off the end, and the checkpoints of it": cut,
    "deletes files and checkpoints, and lets the listener begin a new trail": begin_anew,
    "appends to the file while the listener is down": append_while_down,
    "deletes the key while the listener is down": delete_key,
    "puts a key of his own in its place": replace_key,
    "puts a key of his own beside it as the next one": plant_next_key,
    "writes the files and the checkpoints anew": write_anew,
    "continues the trail with lines of his own": continue_it,
    "makes the listener write what it did not hear": use_host,
}


def rows() -> dict[str, tuple[str, str]]:
    """What is done, and what shows it, beside the files and elsewhere, as the page says."""
    (section,) = re.findall(r"^## What each attack leaves behind$(.+?)^## ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return {deed: (beside, elsewhere) for _, deed, beside, elsewhere in cells[2:]}


def test_the_table_has_a_row_for_each_deed_and_no_other():
    assert list(rows()) == list(DEEDS)


@pytest.mark.parametrize("deed", DEEDS)
def test_what_the_table_says_is_so(deed, tmp_path):
    world = World(tmp_path)
    assert world.outcome(kept=False) == world.outcome(kept=True) == "nothing", "before"
    DEEDS[deed](world)
    beside, elsewhere = rows()[deed]
    assert (world.outcome(kept=False), world.outcome(kept=True)) == (ordered(beside), ordered(elsewhere))


def ordered(cell: str) -> str:
    """The kinds in a cell, which are in the order of their weight there."""
    found, colon, kinds = cell.partition(": ")
    return found + colon + ", ".join(sorted(kinds.split(", ")))
