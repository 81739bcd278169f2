"""Audit trails as the file sink writes them, in memory and in files."""

from collections.abc import Sequence
from pathlib import Path

from listener.audit.chain import Head, chained
from listener.audit.trail import Trail
from listener.audit.unsigned import Known
from listener.audit.window import sequence_of
from support.events import disposition_event


def trail(count: int, *, start: Head | None = None) -> tuple[list[bytes], Head]:
    """So many records, each with its line end, and the head that they make."""
    head, lines = start or Head(), []
    for number in range(1, count + 1):
        event = disposition_event(number, chat=f"chat-{number % 7}")
        line, head = chained(event.to_json(), len(event.data), head)
        lines.append(line + b"\n")
    return lines, head


def settle(trail: Trail) -> None:
    """Let a trail be signed whose unsigned lines nobody has touched: a journal would deliver just these."""
    if trail.doubtful() is not None:
        lines = trail._tail.lines if trail._tail is not None else ()
        events = {sequence_of(line.text): line.body for line in lines if line.body is not None}
        trail.settle(Known(events, max(events, default=0)))


def write(folder: Path, lines: Sequence[bytes], *, files: int = 1) -> list[Path]:
    """The lines in so many files, one after the other."""
    size = -(-len(lines) // files) if lines else 1
    paths = []
    for number in range(files):
        path = folder / f"trail-{number}.jsonl"
        path.write_bytes(b"".join(lines[number * size : (number + 1) * size]))
        paths.append(path)
    return paths
