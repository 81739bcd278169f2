"""Accounts beside the configuration: a CSV file, or a folder with one file per password."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from listener.config.schema import did_you_mean, text_in
from listener.errors import Problem

COLUMNS = ("username", "password", "password_file", "keys")


class Found(NamedTuple):
    """What was found.

    Attributes:
        tables: one for each account, as `[[accounts]]` would have it, not yet checked.
        places: of each account what its problems begin with, such as `agents.csv:4: `.
        problems: what is wrong with the file itself. None quotes it: any cell could be a password.
    """

    tables: list[dict[str, Any]]
    places: list[str]
    problems: list[Problem]


def accounts_in(path: Path, shown: str) -> Found:
    """The accounts of a CSV file or of a folder. Blocks.

    A CSV file is UTF-8 with a line of column names, and then an account a line (RFC 4180, but nothing spans lines).
    Lines that are empty or begin with # are left out. In a folder each file is an account: its name is the username,
    its content the password. That is how Kubernetes mounts a Secret. Names that begin with a dot, such as its `..data`,
    and folders are left out.

    Args:
        path: where it is.
        shown: how it is called in problems.
    """
    try:
        return _in_folder(path, shown) if path.is_dir() else _in_csv(text_in(path).split("\n"), shown)
    except OSError as exc:
        return Found([], [], [Problem("accounts_file", f"cannot read {path}: {exc.strerror}")])
    except ValueError as exc:
        return Found([], [], [Problem("accounts_file", str(exc))])


def _in_folder(path: Path, shown: str) -> Found:
    with os.scandir(path) as entries:
        names = sorted(one.name for one in entries if not one.name.startswith(".") and not one.is_dir())
    tables = [{"username": name, "password_file": str(path / name)} for name in names]
    return Found(tables, [f"{shown}/{name}: " for name in names], [])


def _in_csv(lines: Sequence[str], shown: str) -> Found:
    found = Found([], [], [])
    rows = _rows(lines, shown, found.problems)
    number, header = next(rows, (1, []))
    columns = [name.strip() for name in header]
    if wrong := list(_problems_of(columns, f"{shown}:{number}")):
        found.problems[:0] = wrong
        return found
    for number, cells in rows:
        if cells[len(columns) :]:
            text = f"has {len(cells)} cells, and there are {len(columns)} columns: quote a cell that holds a comma"
            found.problems.append(Problem(f"{shown}:{number}", text))
            continue
        found.tables.append(
            {column: _value(column, cell) for column, cell in zip(columns, cells, strict=False) if cell}
        )
        found.places.append(f"{shown}:{number}: ")
    return found


def _rows(lines: Sequence[str], shown: str, problems: list[Problem]) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line that holds any. A quote that is not closed costs its own line alone."""
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r")
        if not text.strip() or text.startswith("#"):
            continue
        try:
            yield number, next(csv.reader([text], strict=True))
        except csv.Error:
            problems.append(
                Problem(f"{shown}:{number}", 'its quotes are not in order: a cell is "…", a quote in it ""')
            )


def _problems_of(columns: Sequence[str], place: str) -> Iterator[Problem]:
    expected = f"expected a line of column names, of {', '.join(COLUMNS)}"
    if "username" not in columns:
        found = "; semicolons were found" if any(";" in name for name in columns) else ""
        yield Problem(place, f"there is no column username: {expected}, with commas between{found}")
        return
    for number, name in enumerate(columns):
        if name not in COLUMNS:
            yield Problem(place, f"column {number + 1} is none of {', '.join(COLUMNS)}{did_you_mean(name, COLUMNS)}")
        elif name in columns[:number]:
            yield Problem(place, f"column {name} is there twice")


def _value(column: str, cell: str) -> Any:
    if column == "password":
        return cell
    return [key.strip() for key in cell.split(";")] if column == "keys" else cell.strip()
