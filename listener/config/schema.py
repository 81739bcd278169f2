"""The parts of a configuration table: sections, validated texts, files to read, problems in plain words."""

import codecs
import difflib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from errno import EINVAL
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails
from yarl import URL

from listener.errors import Problem

_LONGEST_NAME = 255  # bytes, on any file system of Linux


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, values do not change, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Folders(NamedTuple):
    """Where relative paths of files are looked up: beside the configuration, then in systemd's credentials."""

    base: Path
    credentials: Path | None = None

    @classmethod
    def of(cls, base: Path, environ: Mapping[str, str]) -> Self:
        """The folders of this process; systemd names its own in `CREDENTIALS_DIRECTORY`."""
        named = environ.get("CREDENTIALS_DIRECTORY")
        return cls(base, Path(named) if named else None)

    def find(self, path: Path) -> Path:
        """The first of the folders that holds `path`; beside the configuration when none does."""
        beside = self.base / path
        if self.credentials is not None and not beside.exists() and (self.credentials / path).exists():
            return self.credentials / path
        return beside


def _readable(path: Path, info: ValidationInfo) -> Path:
    """Checks that the file is readable, if the validation knows the folders, as when a configuration is loaded."""
    if not isinstance(info.context, Folders):
        return path
    found = info.context.find(path)
    try:
        os.close(os.open(found, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as exc:
        raise ValueError(f"cannot read {found}: {exc.strerror}") from exc
    if not found.is_file():
        raise ValueError(f"cannot read {found}: not a file")
    return found


_READABLE = AfterValidator(_readable)
InputFile = Annotated[Path, _READABLE]


def possible_name(path: Path) -> Path:
    """The same path. Raises ValueError: no file can be called so."""
    if not path.name or "\0" in str(path) or any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise ValueError("no file can be called so")
    return path


OutputFile = Annotated[Path, AfterValidator(possible_name)]


def text_in(file: Path, *, may_be_pipe: bool = False) -> str:
    """The text of a file, UTF-8, without a byte order mark as some editors write it. Blocks, for a pipe's writer too.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such text; names the file and the line, and quotes nothing.
    """
    if not may_be_pipe and file.exists() and not file.is_file():
        raise OSError(EINVAL, "not a file")
    content = file.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"{file} is UTF-16, as PowerShell's > writes it: expected UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        wrong_at = exc.start
    else:
        if "\0" not in text:
            return text
        wrong_at = content.index(b"\0")
    line = content.count(b"\n", 0, wrong_at) + 1
    raise ValueError(f"{file}, line {line}: it is not UTF-8 text")


def secret_in(file: Path) -> str:
    """The only line of a file, without its end. Blocks. Raises as `text_in`, and ValueError where there is another."""
    lines = [line.strip("\r") for line in text_in(file).split("\n")]
    written = [number for number, line in enumerate(lines) if line]
    if not written:
        raise ValueError(f"{file} is empty")
    if written[1:]:
        raise ValueError(f"{file}, line {written[1] + 1}: expected the secret alone, in one line")
    return lines[written[0]]


def looked_into(read: Callable[[Path], object]) -> AfterValidator:
    """Checks what a file holds, if the validation knows the folders; `read` raises as `text_in`."""

    def look(file: Path, info: ValidationInfo) -> Path:
        if isinstance(info.context, Folders):
            try:
                read(file)
            except OSError as exc:
                raise ValueError(f"cannot read {file}: {exc.strerror}") from exc
        return file

    return AfterValidator(look)


SecretFile = Annotated[InputFile, looked_into(secret_in)]


def input_files(section: BaseModel) -> Iterator[Path]:
    """The input files that a table names, those of its subtables included."""
    return (path for _, path in named_input_files(section, ""))


def named_input_files(section: BaseModel, place: str) -> Iterator[tuple[str, Path]]:
    """The same with the settings that name them; `place` is the table's."""
    files = _names_of_files(type(section))
    for name in type(section).model_fields:
        value, setting = getattr(section, name), f"{place}.{name}"
        if isinstance(value, BaseModel):
            yield from named_input_files(value, setting)
        elif name in files:
            several = isinstance(value, tuple | list)
            listed = [(f"{setting}[{n}]", one) for n, one in enumerate(value)] if several else [(setting, value)]
            yield from (one for one in listed if one[1] is not None)


def secrets_of(value: object) -> Iterator[str]:
    """The secrets that stand in a table itself, at any depth."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from (secret for _, one in value for secret in secrets_of(one))
    elif isinstance(value, dict | tuple | list):
        parts = value.values() if isinstance(value, dict) else value
        yield from (secret for one in parts for secret in secrets_of(one))


@cache
def _names_of_files(model: type[BaseModel]) -> frozenset[str]:
    """The keys of a table whose values are files that are read."""
    return frozenset(
        name for name, field in model.model_fields.items() if _is_read([field.annotation, *field.metadata])
    )


def _is_read(parts: Sequence[Any]) -> bool:
    """Whether `InputFile` stands anywhere in an annotation."""
    return any(part == _READABLE or _is_read([*get_args(part), *getattr(part, "__metadata__", ())]) for part in parts)


def url_that(usable: Callable[[URL], bool], expected: str) -> AfterValidator:
    """A check of a URL, which is kept as written; user names and passwords in it would end in logs and events.

    Args:
        usable: whether it leads somewhere; a ValueError says that it does not.
        expected: what it should be.
    """

    def checked(value: str) -> str:
        try:
            url = URL(value)
            fits = usable(url)
        except ValueError:
            fits = False
        if not fits or any(character.isspace() for character in value):
            raise ValueError(expected)
        if url.user is not None or url.password is not None:
            raise ValueError("must not contain a user name or password")
        return value

    return AfterValidator(checked)


def _leads_to_a_web_server(url: URL) -> bool:
    return url.scheme in {"http", "https"} and bool(url.host) and url.port is not None


Url = Annotated[
    str, url_that(_leads_to_a_web_server, "should be a URL that starts with http:// or https:// and names a host")
]


def did_you_mean(word: str, known: Collection[str], *, cutoff: float = 0.6) -> str:
    """`, did you mean 'x'?` with the nearest known word; empty when none is near."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=cutoff)
    return f", did you mean {near[0]!r}?" if near else ""


def from_text(annotation: Any, text: str) -> Any:
    """A text of the environment as the list or table that `annotation` asks for: JSON, or `a,b` for a list."""
    a_list = get_origin(annotation) in (tuple, list)
    if not a_list and get_origin(annotation) is not dict and not _models_in(annotation):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if isinstance(value, list | dict):
        return value
    return [part.strip() for part in text.split(",")] if a_list else text


def field_of(annotation: Any, key: str) -> Any:
    """The annotation of a key of the table that `annotation` speaks of; None if the key is unknown."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[-1]
    known = (model.model_fields[key].annotation for model in _models_in(annotation) if key in model.model_fields)
    return next(known, None)


def dotted(steps: Sequence[str | int]) -> str:
    """`accounts[0].password_file` for the steps `accounts`, 0, `password_file`."""
    path = ""
    for step in steps:
        if isinstance(step, int):
            path += f"[{step}]"
        elif step != "[key]":  # pydantic's mark for "the name of this entry"
            path += f".{step}" if path else step
    return path


def placed(problem: Problem, places: Mapping[str, str]) -> Problem:
    """The same problem, named by where it was written, if that is not the main file.

    Args:
        problem: its path is one of the whole configuration, such as `accounts[7].password`.
        places: what such a path, or one that it begins with, is called, as `accounts[7]` may be `agents.csv:9: `.
    """
    path, rest = problem.path, ""
    while path:
        if (place := places.get(path)) is not None:
            whole = place + (rest.removeprefix(".") if place.endswith(": ") else rest)
            return Problem(whole.removesuffix(": "), problem.text)
        cut = max(path.rfind("."), path.rfind("["), 0)
        path, rest = path[:cut], path[cut:] + rest
    return problem


def problems_of(
    error: ValidationError, model: type[BaseModel], *, prefix: Sequence[str] = (), also_known: Collection[str] = ()
) -> list[Problem]:
    """Every error of a validation as a Problem, without the value: it may be a secret.

    Args:
        error: what validating `model` raised.
        model: the table at `prefix`.
        prefix: steps from the configuration's root to the table.
        also_known: keys that someone else reads from the same table; suggested for unknown ones.
    """
    return [
        Problem(dotted((*prefix, *details["loc"])), _text(details, model, also_known))
        for details in error.errors(include_url=False, include_input=False)
    ]


def _text(details: ErrorDetails, model: type[BaseModel], also_known: Collection[str]) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        known = [*_table_at(model, details["loc"][:-1]).model_fields, *(also_known if len(details["loc"]) == 1 else ())]
        return "unknown key" + did_you_mean(str(details["loc"][-1]), known)
    template = _WORDS.get(kind)
    return template.format(**context) if template else details["msg"]


def _table_at(model: type[BaseModel], steps: Sequence[str | int]) -> type[BaseModel]:
    """The model of the table that these steps lead to."""
    for step in steps:
        if step in model.model_fields:
            model = next(iter(_models_in(model.model_fields[str(step)].annotation)), model)
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The tables that an annotation speaks of: `X`, `X | None`, `tuple[X, ...]`, `dict[str, X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


_WHOLE = "should be a whole number"
_NUMBER = "should be a number"
_SWITCH = "should be true or false"
_TEXT = "should be a text in quotes"
_LIST = "should be a list"
_TABLE = "should be a table"
_WORDS = {
    "missing": "is required",
    "literal_error": "should be {expected}",
    "value_error": "{error}",
    "int_parsing": _WHOLE,
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "finite_number": "should be a finite number",
    "bool_parsing": _SWITCH,
    "bool_type": _SWITCH,
    "string_type": _TEXT,
    "path_type": _TEXT,
    "string_too_short": "must not be empty",
    "tuple_type": _LIST,
    "list_type": _LIST,
    "dict_type": _TABLE,
    "model_type": _TABLE,
    "model_attributes_type": _TABLE,
    "too_short": "should hold at least {min_length}",
    "greater_than": "should be more than {gt}",
    "greater_than_equal": "should be at least {ge}",
    "less_than_equal": "should be at most {le}",
}
