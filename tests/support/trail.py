"""Audit trails as the file sink writes them, in memory and in files."""

from collections.abc import Sequence
from pathlib import Path

from listener.audit.chain import Head, chained
from support.events import disposition_event


def trail(count: int, *, start: Head | None = None) -> tuple[list[bytes], Head]:
    """So many records, each with its line end, and the head that they make."""
    head, lines = start or Head(), []
    for number in range(1, count + 1):
        event = disposition_event(number, chat=f"chat-{number % 7}")
        line, head = chained(event.to_json(), len(event.data), head)
        lines.append(line + b"\n")
    return lines, head


def write(folder: Path, lines: Sequence[bytes], *, files: int = 1) -> list[Path]:
    """The lines in so many files, one after the other."""
    size = -(-len(lines) // files) if lines else 1
    paths = []
    for number in range(files):
        path = folder / f"trail-{number}.jsonl"
        path.write_bytes(b"".join(lines[number * size : (number + 1) * size]))
        paths.append(path)
    return paths
