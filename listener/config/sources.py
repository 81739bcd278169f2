"""The files of a configuration as one set of tables: the main one, what it includes, variables in their values."""

import glob
import re
import tomllib
from collections.abc import Iterator, Mapping
from os.path import realpath  # Path.resolve raises where links lead in a circle
from pathlib import Path
from typing import Any, NamedTuple

from listener.config.schema import dotted, placed, text_in
from listener.errors import ConfigError, Problem

# A template of a sink has ${chatId}, so what is in capitals alone is a variable.
_VARIABLE = re.compile(r"\$(?P<literal>\$?)\{(?P<name>[A-Z_][A-Z0-9_]*)(?::-(?P<default>[^}]*))?\}")

_DEEPEST = 32


class Sources(NamedTuple):
    """What the files say.

    Attributes:
        tables: all tables, not yet checked.
        places: where those were written that are not in the main file; see `schema.placed`.
        problems: what is wrong between the files, or with variables in their values.
        unreadable: what keeps included files from being read; without them nothing can be said of the whole.
        files: the main file, and those that it includes.
    """

    tables: dict[str, Any]
    places: dict[str, str]
    problems: list[Problem]
    unreadable: list[Problem]
    files: list[Path]


def read(
    path: Path | None, base: Path, environ: Mapping[str, str], *, include: object = None, may_be_pipe: bool = True
) -> Sources:
    """Read the main file and what it includes. Blocks.

    Args:
        path: the main file; None for none.
        base: the folder that `include` starts from.
        environ: what `${NAME}` in a value stands for; `${NAME:-x}` is x where it is not set or empty, `$${NAME}` is the
            text `${NAME}`.
        include: patterns in place of the main file's own.
        may_be_pipe: whether the main file is read from a pipe as well, and its writer waited for.

    Raises:
        ConfigError: the main file cannot be read, or is not TOML.
    """
    problems: list[Problem] = []
    tables = (
        {} if path is None else _filled(_tables_in(path, str(path), may_be_pipe=may_be_pipe), environ, "", (), problems)
    )
    patterns = tables.get("include") if include is None else include
    sources = Sources(tables, {}, problems, [], [] if path is None else [path])
    for name in _included(path, base, patterns, problems):
        try:
            more = _filled(_tables_in(base / name, name), environ, f"{name}: ", (), problems)
        except ConfigError as exc:
            sources.unreadable.extend(exc.problems)
            continue
        sources.files.append(base / name)
        if more.pop("include", None) is not None:
            problems.append(Problem(f"{name}: include", "an included file includes no other"))
        _add(sources, tables, more, (), name, "" if path is None else path.name)
    return sources


def _tables_in(path: Path, shown: str, *, may_be_pipe: bool = False) -> dict[str, Any]:
    """A file's tables. A byte order mark, as some editors write it, is no error. Raises ConfigError."""
    try:
        tables = tomllib.loads(text_in(path, may_be_pipe=may_be_pipe))
    except OSError as exc:
        raise ConfigError([Problem(shown, f"cannot be read: {exc.strerror}")]) from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError([Problem(shown, f"is not TOML: {exc}")]) from exc
    except ValueError as exc:
        raise ConfigError([Problem(shown, str(exc).removeprefix(str(path)).lstrip(", "))]) from exc
    except RecursionError:
        deep = True
    else:
        deep = _is_deeper(tables, _DEEPEST)
    if deep:
        raise ConfigError([Problem(shown, f"is nested deeper than {_DEEPEST} levels")])
    return tables


def _is_deeper(value: object, levels: int) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(part, levels - 1) for part in parts)


def included(path: Path | None, base: Path, pattern: str) -> list[str]:
    """The names of the files that a pattern of `include` leads to, sorted, without the main file. Blocks."""
    found = sorted(glob.glob(pattern, root_dir=base))  # noqa: PTH207 - a Path's * matches hidden files too
    return [name for name in found if path is None or realpath(base / name) != realpath(path)]


def _included(path: Path | None, base: Path, patterns: object, problems: list[Problem]) -> Iterator[str]:
    """The names of the files of all patterns, each once; a pattern that matches none is no problem."""
    seen = set[str]()
    for number, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
        if not isinstance(pattern, str):
            continue
        found = included(path, base, pattern)
        if not found and glob.escape(pattern) == pattern:
            problems.append(Problem(f"include[{number}]", f"cannot read {base / pattern}: there is no such file"))
        for name in found:
            if (file := realpath(base / name)) not in seen:
                seen.add(file)
                yield name


def files_named_in(tables: object) -> Iterator[str]:
    """Whatever stands in tables under a key that ends in `_file` or `_files`, at any depth."""
    for key, value in tables.items() if isinstance(tables, dict) else ():
        if key.endswith(("_file", "_files")):
            yield from (name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str))
        for table in value if isinstance(value, list) else [value]:
            yield from files_named_in(table)


def _filled(
    value: Any, environ: Mapping[str, str], file: str, steps: tuple[str | int, ...], problems: list[Problem]
) -> Any:
    """A value with what its variables hold, at any depth; keys stay as they are."""
    if isinstance(value, dict):
        return {key: _filled(one, environ, file, (*steps, key), problems) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, environ, file, (*steps, number), problems) for number, one in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value

    def of(found: re.Match[str]) -> str:
        name, default = found["name"], found["default"]
        if found["literal"]:
            return found[0][1:]
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            text = f"the variable {name} is not set (for ${{{name}}} as it stands write $${{{name}}})"
            problems.append(Problem(file + dotted(steps), text))
        return environ.get(name, found[0])

    return _VARIABLE.sub(of, value)


def _add(
    sources: Sources, tables: dict[str, Any], more: Mapping[str, Any], steps: tuple[str, ...], file: str, main: str
) -> None:
    """What another file says: lists of tables grow, tables gain keys, and nothing else is given twice."""
    for key, value in more.items():
        path, there = dotted((*steps, key)), tables.get(key)
        if there is None:
            tables[key] = value
            sources.places[path] = f"{file}: {path}"
        elif isinstance(there, dict) and isinstance(value, dict):
            _add(sources, there, value, (*steps, key), file, main)
        elif _is_list_of_tables(there) and _is_list_of_tables(value):
            tables[key] = [*there, *value]
            entries = range(len(value))
            sources.places.update({f"{path}[{len(there) + n}]": f"{file}: {path}[{n}]" for n in entries})
        else:
            first = placed(Problem(path, ""), sources.places).path
            where = f"{main}: {path}" if first == path else first
            sources.problems.append(Problem(f"{file}: {path}", f"is given more than once, first at {where}"))


def _is_list_of_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)
