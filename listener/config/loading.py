"""Reads the configuration: files, environment (`LISTENER_SERVER__URL`), secrets. Problems come all at once."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from listener.config.accounts_file import accounts_in
from listener.config.http import HttpSettings
from listener.config.journal import JournalSettings
from listener.config.lane import LaneSettings
from listener.config.schema import (
    Folders,
    Section,
    did_you_mean,
    field_of,
    from_text,
    placed,
    problems_of,
)
from listener.config.settings import AUTO, AccountSettings, Parts, ServerSettings, Settings, SupervisorSettings
from listener.config.sources import Sources, files_named_in, read
from listener.errors import ConfigError, Problem
from listener.model.media import CHAT

ENV_PREFIX = "LISTENER_"
_NEW_NAMES = {("server", "max_response_bytes"): "max_message_bytes"}
_NEEDS_LOGIN = '"auto" asks the REST API: it needs server.login = "basic"'
_YES = {"true", "yes", "on", "1", "y", "t"}  # as pydantic reads it, also from a variable
CONFIG_VARIABLE = "LISTENER_CONFIG"
_DEFAULT_FILES = ("listener.toml", "/etc/disposition-listener/listener.toml")
_WHICH_SERVER = (f"{ENV_PREFIX}SERVER", f"{ENV_PREFIX}SERVER__URL")
_NOTHING_GIVEN = (
    f"there is no configuration: name its file with --config or {CONFIG_VARIABLE}, or set {ENV_PREFIX} variables"
    f" (looked for {' and '.join(_DEFAULT_FILES)})"
)

_NO_TABLES: dict[str, Any] = {"accounts": [], "supervisors": []}

S = TypeVar("S", bound=Section)
SinkCheck = Callable[[Mapping[str, LaneSettings], Path], Sequence[Problem]]


def default_file(environ: Mapping[str, str]) -> Path | None:
    """The configuration where none is named; none either where variables say which server it is."""
    return None if _named_by(environ) else _found_file()


def _named_by(environ: Mapping[str, str]) -> str | None:
    """The variable that says which server it is."""
    return next((name for name in environ if name.upper() in _WHICH_SERVER), None)


def _found_file() -> Path | None:
    return next((Path(file) for file in _DEFAULT_FILES if os.access(file, os.F_OK)), None)


def _left_out(environ: Mapping[str, str]) -> Iterator[Problem]:
    """A file that would have been found, where what variables say is not enough."""
    if (name := _named_by(environ)) is not None and (file := _found_file()) is not None:
        text = f"{file} was left out, since {name} says which server it is: --config {file} reads it too"
        yield Problem("", text)


def _leave_unchecked(_lanes: Mapping[str, LaneSettings], _base: Path) -> Sequence[Problem]:
    return ()


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
    sink_problems: SinkCheck = _leave_unchecked,
) -> Settings:
    """Read the configuration. Blocks for as long as reading a few small files takes.

    Args:
        path: the TOML file; None for a configuration that is all environment, with the working folder as base.
        environ: variables; `LISTENER_SERVER__URL` wins over `url` of `[server]` in the file. Dashes of a sink's name
            are underscores there. Lists are JSON or comma-separated; entries of `accounts` go by number.
        overrides: dotted keys, as `log.level`, with values that win over both; None stands for "not given".
        sink_problems: what is wrong with the sinks' own keys, for their tables by name and the base folder. The kinds
            are not known here: hand in `listener.sinks.registry.problems_of_all`.

    Raises:
        ConfigError: with every problem there is. No problem's text holds a value that could be a secret.
    """
    base, (data, places, between, _, sources) = _tables(path, environ)
    data = _merged(data, _nested(overrides or {}))
    if path is None and data == _NO_TABLES:
        raise ConfigError([Problem("", _NOTHING_GIVEN), *_unknown_variables(environ)])
    problems = [] if data.pop("base", None) is None else [Problem("base", "unknown key")]
    data, renamed = _with_new_names(data)
    files = Folders.of(base, environ)
    data, more_places, of_accounts = _with_accounts_of_file(data, files)
    places |= more_places
    problems += of_accounts
    try:
        settings = Settings.model_validate(data | {"base": base}, context=files)
    except ValidationError as exc:
        problems += problems_of(exc, Settings)
    problems += [
        *_problems_across(data, places, is_whole=not of_accounts),
        *_problems_of_sinks(data, base, sink_problems),
    ]
    problems += _unknown_variables(environ)
    if problems or between:
        problems += _left_out(environ) if path is None else ()
        told = {problem.path for problem in between}  # what follows from them is not
        found = (_with_origin(problem, environ, places) for problem in problems)
        raise ConfigError([*between, *(problem for problem in found if problem.path not in told)])
    return settings.read_as(renamed=renamed, places=places, files=sources)


def _with_accounts_of_file(
    data: Mapping[str, Any], files: Folders
) -> tuple[dict[str, Any], dict[str, str], list[Problem]]:
    """The tables with the accounts of `accounts_file` after their own; their places, and the problems of the file."""
    path, own = _accounts_file(data, files), data["accounts"]
    if path is None or not isinstance(own, list):
        return dict(data), {}, []
    found = accounts_in(path, data["accounts_file"])
    places = {f"accounts[{number}]": place for number, place in enumerate(found.places, len(own))}
    return {**data, "accounts": [*own, *found.tables]}, places, found.problems


def _accounts_file(data: Mapping[str, Any], files: Folders | None) -> Path | None:
    named = data.get("accounts_file")
    if not isinstance(named, str):
        return None
    return Path(named) if files is None else files.find(Path(named))


def _with_new_names(data: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The tables with keys by their new names, and what to tell of each that had its old one."""
    tables, told = dict(data), []
    for (table, old), new in _NEW_NAMES.items():
        keys = tables.get(table)
        if isinstance(keys, dict) and old in keys and new not in keys:
            tables[table] = {new if key == old else key: value for key, value in keys.items()}
            told.append(f"{table}.{old} is called {table}.{new} now")
    return tables, tuple(told)


def parts_of(path: Path | None, *, environ: Mapping[str, str] = os.environ, find_files: bool = True) -> Parts:
    """What can be used of a configuration, whatever is wrong with the rest: `load` tells that.

    Args:
        path: as for `load`.
        environ: likewise.
        find_files: whether the files that are to be read are looked for; without, no secret is needed.

    Raises:
        ConfigError: the file cannot be read, or is not TOML.
    """
    base, (data, places, *_, sources) = _tables(path, environ)
    data, _ = _with_new_names(data)
    files = Folders.of(base, environ) if find_files else None
    data, more_places, _ = _with_accounts_of_file(data, files) if files is not None else (data, {}, [])
    accounts = data["accounts"] if isinstance(data["accounts"], list) else []
    supervisors = data["supervisors"] if isinstance(data["supervisors"], list) else []
    sound: dict[str, AccountSettings | None] = {
        f"accounts[{number}]": _sound(AccountSettings, table, files) for number, table in enumerate(accounts)
    }
    sound |= {
        f"supervisors[{number}]": _sound(SupervisorSettings, table, files) for number, table in enumerate(supervisors)
    }
    return Parts(
        base=base,
        server=_sound(ServerSettings, data.get("server"), files),
        accounts={place: one for place, one in sound.items() if one is not None},
        journal=_sound(JournalSettings, data.get("journal", {}), files),
        http=_sound(HttpSettings, data.get("http"), files),
        sinks=_lanes(data),
        places=places | more_places,
        accounts_file=_accounts_file(data, files),
        files=sources,
    )


class Files(NamedTuple):
    """The files of a configuration, whatever is wrong with it.

    Attributes:
        base: the folder that patterns start from.
        patterns: of files that are included.
        parts: the main file, and the file or folder of accounts.
        named: all that settings name, such as password files.
        folders: those that sinks write to.
    """

    base: Path
    patterns: tuple[str, ...]
    parts: tuple[Path, ...]
    named: tuple[Path, ...]
    folders: tuple[Path, ...] = ()


def files_of(path: Path | None, *, environ: Mapping[str, str] = os.environ) -> Files:
    """Which files a configuration is made of. Blocks. Raises ConfigError: the main file cannot be read."""
    base, variables = path.absolute().parent if path is not None else Path.cwd(), _from_variables(environ)
    sources = read(path, base, environ, include=variables.get("include"), may_be_pipe=False)
    folders, data = Folders.of(base, environ), _merged(_NO_TABLES | sources.tables, variables)
    data, *_ = _with_accounts_of_file(data, folders)
    accounts, patterns = _accounts_file(data, folders), data.get("include")
    paths = [getattr(lane, "path", None) for lane in _lanes(data).values()]
    return Files(
        base=base,
        patterns=tuple(one for one in patterns if isinstance(one, str)) if isinstance(patterns, list) else (),
        parts=tuple(one for one in (path, accounts) if one is not None),
        named=tuple(folders.find(Path(name)) for name in files_named_in(data)),
        folders=tuple((base / path).parent for path in paths if isinstance(path, str)),
    )


def _sound(kind: type[S], table: object, files: Folders | None) -> S | None:
    try:
        return kind.model_validate(table, context=files)
    except ValidationError:
        return None


def _tables(path: Path | None, environ: Mapping[str, str]) -> tuple[Path, Sources]:
    """The folder that paths start from, and what files and variables say. Raises ConfigError."""
    base, variables = path.absolute().parent if path is not None else Path.cwd(), _from_variables(environ)
    sources = read(path, base, environ, include=variables.get("include"))
    if sources.unreadable:
        raise ConfigError(sources.unreadable)
    return base, sources._replace(tables=_merged(_NO_TABLES | sources.tables, variables))


def _from_variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """The variables as nested tables, their texts not yet checked. A whole table as JSON comes before its keys."""
    known = Settings.model_fields.keys() - {"base"}
    tables: dict[str, Any] = {}
    for name, text in sorted(environ.items(), key=lambda variable: variable[0].count("__")):
        steps = name.lower().removeprefix(ENV_PREFIX.lower()).split("__")
        if not name.upper().startswith(ENV_PREFIX) or steps[0] not in known:
            continue
        table: Any = tables
        annotation: Any = Settings
        for step in steps[:-1]:
            table = table.setdefault(step, {}) if isinstance(table, dict) else None
            annotation = field_of(annotation, step)
        if isinstance(table, dict):
            table[steps[-1]] = from_text(field_of(annotation, steps[-1]), text) if text else text
    return tables


def _merged(below: Any, above: Any) -> Any:
    """`above` laid over `below`: tables key by key, lists by the number of the entry, all else replaced."""
    if isinstance(below, list) and isinstance(above, dict):
        return _merged_entries(below, above)
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    merged = dict(below)
    written = {_as_variable(key): key for key in below}
    for key, value in above.items():
        name = written.get(_as_variable(key), key)
        merged[name] = _merged(merged.get(name), value)
    return merged


def _merged_entries(below: list[Any], above: dict[str, Any]) -> list[Any]:
    merged = list(below)
    for key in sorted(above, key=lambda key: (len(key), key)):
        if not key.isdecimal() or int(key) > len(merged):
            raise ConfigError([Problem(f"accounts[{key}]", f"there is no such entry, the next one is {len(merged)}")])
        merged[int(key) : int(key) + 1] = [_merged(dict(*merged[int(key) : int(key) + 1]), above[key])]
    return merged


def _as_variable(key: str) -> str:
    """A key as it stands in the name of a variable, which holds no dash."""
    return key.upper().replace("-", "_")


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Tables for dotted keys."""
    tables: dict[str, Any] = {}
    for key, value in overrides.items():
        if value is not None:
            *parents, last = key.split(".")
            table = {last: value}
            for parent in reversed(parents):
                table = {parent: table}
            tables = _merged(tables, table)
    return tables


def _problems_across(data: Mapping[str, Any], places: Mapping[str, str], *, is_whole: bool) -> Iterator[Problem]:
    """Problems across fields; found in the unchecked tables, so that they come together with the fields' own.

    Without `is_whole` there is more in `accounts_file` than could be read.
    """
    server = data.get("server")
    server = server if isinstance(server, dict) else {}
    basic = server.get("login", "basic") == "basic"
    paths = str(server.get("notifications", "/api/v2"))
    if (ending := re.search(r"/api(/v\d+)?/*$", str(server.get("url", "")))) and paths.startswith("/api/"):
        text = f"leave out {ending[0]}: the paths that are added to it begin with /api themselves"
        yield Problem("server.url", text)
    for one, other in (("client_cert_file", "client_key_file"), ("client_key_file", "client_cert_file")):
        if one in server and other not in server:
            yield Problem(f"server.{other}", f"is required beside {one} (the same file may hold both)")
    disposition = data.get("disposition")
    media = disposition.get("media", [CHAT]) if isinstance(disposition, dict) else [CHAT]
    if "topic" in server and isinstance(media, list | tuple) and CHAT not in media:
        yield Problem("server.topic", f"is that of chats, and disposition.media does not name {CHAT!r}")
    journal = data.get("journal")
    ends_sessions = str(data.get("disconnect_on_stop")).lower() in _YES
    if isinstance(journal, dict) and journal.get("url") and ends_sessions:
        text = "cannot be true with journal.url: a session would end whenever another replica takes it over"
        yield Problem("disconnect_on_stop", text)
    if not basic and _is_auto(data.get("disposition")):
        yield Problem("disposition.keys", _NEEDS_LOGIN)
    yield from _problems_of_logins(data, places, basic=basic, is_whole=is_whole)


def _problems_of_logins(
    data: Mapping[str, Any], places: Mapping[str, str], *, basic: bool, is_whole: bool
) -> Iterator[Problem]:
    accounts = data["accounts"] if isinstance(data["accounts"], list) else [{}]
    supervisors = data["supervisors"] if isinstance(data["supervisors"], list) else [{}]
    if basic and is_whole and not accounts and not supervisors:
        tables = "at least one [[accounts]] or [[supervisors]] table, or an accounts_file, is needed"
        text = f'{tables} with server.login = "basic"'
        yield Problem("accounts", text)
    if supervisors and not basic:
        yield Problem("supervisors", 'needs the REST API: server.login = "basic"')
    names: dict[str, str] = {}
    for table, several in (("accounts", accounts), ("supervisors", supervisors)):
        for number, account in enumerate(several):
            if isinstance(account, dict):
                yield from _problems_of_account(f"{table}[{number}]", account, names, places, needs_password=basic)
                if table == "supervisors":
                    yield from _problems_of_team(f"{table}[{number}]", account)


def _is_auto(table: object) -> bool:
    keys = table.get("keys") if isinstance(table, dict) else None
    return keys == AUTO[0] or keys == [*AUTO]


def _problems_of_account(
    place: str,
    account: Mapping[str, Any],
    names: dict[str, str],
    places: Mapping[str, str],
    *,
    needs_password: bool,
) -> Iterator[Problem]:
    name = str(account.get("username"))
    if "username" in account and name in names:
        first = placed(Problem(names[name], ""), places).path
        yield Problem(f"{place}.username", f"{name!r} is given more than once, first at {first}")
    names.setdefault(name, place)
    if "password" in account and "password_file" in account:
        yield Problem(f"{place}.password_file", "give either password or password_file")
    if not needs_password and _is_auto(account):
        yield Problem(f"{place}.keys", _NEEDS_LOGIN)
    if needs_password and not account.get("password") and "password_file" not in account:
        text = "a password or password_file is required"
        in_file = places.get(place, "").endswith(": ")
        hint = ": a line has a comma between its cells" if in_file else ' with server.login = "basic"'
        yield Problem(f"{place}.{'password' if in_file else 'password_file'}", text + hint)


def _problems_of_team(place: str, supervisor: Mapping[str, Any]) -> Iterator[Problem]:
    if supervisor.get("monitor") and supervisor.get("monitor_group"):
        yield Problem(f"{place}.monitor_group", "give either monitor or monitor_group")
    if not supervisor.get("monitor") and not supervisor.get("monitor_group"):
        text = 'is required: a list of usernames, or "all"; or give monitor_group'
        yield Problem(f"{place}.monitor", text)


def _problems_of_sinks(data: Mapping[str, Any], base: Path, check: SinkCheck) -> Sequence[Problem]:
    """The problems of the sinks' own keys, even if their shared keys have problems."""
    return [*_misspelt_types(data), *check(_lanes(data), base)]


def _misspelt_types(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Without its type nothing else is known of the keys that a sink can have."""
    sinks = data.get("sinks")
    for name, table in sinks.items() if isinstance(sinks, dict) else ():
        if isinstance(table, dict) and "type" not in table:
            for key in table.keys() - LaneSettings.model_fields.keys():
                if hint := did_you_mean(key, ["type"]):
                    yield Problem(f"sinks.{name}.{key}", "unknown key" + hint)


def _lanes(data: Mapping[str, Any]) -> dict[str, LaneSettings]:
    """The tables of the sinks whose kind is named."""
    sinks = data.get("sinks")
    tables = sinks if isinstance(sinks, dict) else {}
    return {
        name: _lane(table)
        for name, table in tables.items()
        if isinstance(table, dict) and isinstance(table.get("type"), str)
    }


def _lane(table: Mapping[str, Any]) -> LaneSettings:
    """A sink's table; a shared key that is wrong, which is told elsewhere, counts as left out."""
    try:
        return LaneSettings.model_validate(table)
    except ValidationError as exc:
        wrong = {error["loc"][0] for error in exc.errors() if error["loc"]} or {"format", "template"}
    return LaneSettings.model_construct(**{key: value for key, value in table.items() if key not in wrong})


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[Problem]:
    """Variables that can only be meant for this program, but that nothing reads.

    Kubernetes sets `LISTENER_SERVICE_HOST` and its like for a Service called `listener`: a name without `__` is a
    problem only where it nearly is one of ours.
    """
    tables = [name for name in Settings.model_fields if name != "base"]
    known = [ENV_PREFIX + name.upper() for name in (*tables, *_nested_names())]
    for name in environ:
        rest = name.upper().removeprefix(ENV_PREFIX)
        if rest == name.upper() or rest.split("__")[0].lower() in tables:
            continue
        hint = did_you_mean(name.upper(), known, cutoff=0.6 if "__" in rest else 0.92)
        if hint or "__" in rest:
            yield Problem(name, "unknown variable" + hint)


def _nested_names() -> Iterator[str]:
    for table, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from (f"{table}__{key}" for key in field.annotation.model_fields)
    yield from (f"http__{key}" for key in HttpSettings.model_fields)


def _with_origin(problem: Problem, environ: Mapping[str, str], places: Mapping[str, str]) -> Problem:
    """Name the variable if the value came from one, else the file if it is not the main one."""
    name = ENV_PREFIX + _as_variable(problem.path.replace("[", ".").replace("]", "").replace(".", "__"))
    return Problem(problem.path, f"{problem.text} (from {name})") if name in environ else placed(problem, places)
