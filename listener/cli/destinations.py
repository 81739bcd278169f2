"""Files that a command writes: whole under their name or not at all, and never over what it reads."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import typer

from listener.audit.reading import AuditFile
from listener.errors import StartError

_MODE = 0o640  # as that of the audit file: what is reported holds the same data


def require_harmless(path: Path, option: str, suffixes: Sequence[str], inputs: Sequence[AuditFile]) -> None:
    """Raise BadParameter where the path could be that of an audit file, as after an option without its value."""
    if path.suffix.lower() not in suffixes:
        text = f"{path} should end in {' or '.join(suffixes)}, so that no audit file is overwritten by mistake"
        raise typer.BadParameter(text, param_hint=option)
    if any(one.is_same(path) for one in inputs):
        raise typer.BadParameter(f"{path} is one of the files that are read", param_hint=option)


@contextlib.contextmanager
def replacing(path: Path, option: str) -> Iterator[TextIO]:
    """A text file that gets its name once it is whole and on the disk. Raises StartError."""
    part = path.with_name(f"{path.name}.part")
    try:
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as exc:
        raise StartError(f"{option}: cannot write {path}: {exc.strerror}") from exc
