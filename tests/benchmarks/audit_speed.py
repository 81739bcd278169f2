"""How fast a trail is verified and reported on, beside the hashing of the same lines alone."""

import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, run

import msgspec

from benchmarks.measuring import Figure, Scale, Table, spread
from listener.audit.chain import Head, chain
from listener.audit.notes import checkpoint_text, written
from listener.audit.signer import load_or_create
from listener.model.event import Change, Disposition, Event, Kind, Origin, Participant, rfc3339
from listener.testing.events import SAMPLE_MS

LINES = 200_000
CODES = ("IssueResolved", "Callback", "Escalated", "Refund")
COMMANDS: Mapping[str, Sequence[str]] = {
    "`audit verify`": ("verify",),
    "`audit report`, HTML": ("report", "--html", "report.html"),
    "`audit report`, table": ("report",),
    "`audit report`, CSV": ("report", "--csv", "-"),
    "`audit report`, JSON": ("report", "--json"),
    "`audit report`, by agent": ("report", "--by", "agent"),
}


def event(number: int) -> Event:
    """Three events a second, three a chat, of 50 accounts."""
    time, chat, account = rfc3339(SAMPLE_MS + number * 331), f"0000Na9B26EF{number // 3:08d}", f"agent{number % 50}"
    data = Disposition(
        change=tuple(Change)[number % 3],
        key="DispositionCode",
        disposition=CODES[number % 7 % 4],
        previous=None,
        chat_id=chat,
        chat_state="Chatting",
        chat_uri=f"https://gws.example.com/api/v2/me/chats/{chat}",
        reference_id=number,
        account=account,
        participants=(
            Participant(nickname="Customer", type="Customer", participant_id=f"{number // 3}-1"),
            Participant(nickname=f"Ann {number % 50}", type="Agent", participant_id=f"{number // 3}-2"),
        ),
        user_data={},
        received_at=time,
        origin=Origin.NOTIFICATION,
    )
    return Event(
        id=f"{number:040x}",
        type=f"disposition-listener.chat.{Kind.DISPOSITION}",
        source="https://gws.example.com/api/v2/me/chats",
        subject=chat,
        time=time,
        kind=Kind.DISPOSITION,
        account=account,
        change=data.change,
        data=msgspec.json.encode(data),
        sequence=number,
    )


def write(folder: Path, name: str, count: int) -> Path:
    """A trail of so many lines, signed to its end."""
    path = folder / f"{name}.jsonl"
    lines, head = chain(((one.attributes(), one.data) for one in map(event, range(count))), Head())
    path.write_bytes(b"".join([line + b"\n" for line in lines]))
    keys = load_or_create(Path(f"{path}.key"), name="host/audit", public=Path(f"{path}.pub"))
    note = keys.signing.sign(checkpoint_text("host/audit", head, rfc3339(SAMPLE_MS)))
    Path(f"{path}.checkpoints").write_text(written([note]))
    return path


def hashed(path: Path) -> float:
    """CPU seconds of what cannot be spared: reading the lines, and hashing them."""
    began = time.process_time()
    with path.open("rb") as file:
        for line in file:
            hashlib.sha256(line).digest()
    return time.process_time() - began


def told(path: Path, words: Sequence[str]) -> float:
    """CPU seconds of a command on a trail, which is proven."""
    before = os.times()
    command = (sys.executable, "-m", "listener", "audit", *words, path, "--pubkey", f"{path}.pub")
    run(command, cwd=path.parent, stdout=DEVNULL, stderr=DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def tables(scale: Scale) -> Iterator[Table]:
    taken: dict[str, list[float]] = {}
    count = scale.of(LINES)
    with tempfile.TemporaryDirectory(dir=scale.folder) as place:
        path, short = (write(Path(place), name, lines) for name, lines in (("trail", count), ("short", 1)))
        for _ in range(scale.rounds):
            taken.setdefault("reading and hashing alone", []).append(hashed(path))
            for name, words in COMMANDS.items():
                taken.setdefault(name, []).append(told(path, words) - told(short, words))
    alone = statistics.median(taken["reading and hashing alone"])
    yield Table(
        "Reading an audit trail",
        f"CPU of a million lines with participants, measured with {count:,}, the start of the program taken off. A "
        f"report verifies, too. Medians of {scale.rounds}, in turns.",
        ["", "CPU seconds a million lines", "times the hashing"],
        [
            [name, spread([s / count * 1e6 for s in runs]), Figure(f"{statistics.median(runs) / alone:.2f}")]
            for name, runs in taken.items()
        ],
    )
