"""Options that several commands share, and what they lead to: a journal, a moment, a file to write."""

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, NamedTuple, TextIO

import typer

from listener.cli.shared import Shared
from listener.config.accounts_file import accounts_in
from listener.config.journal import JournalSettings
from listener.config.loading import CONFIG_VARIABLE, default_file, load, parts_of
from listener.config.schema import Folders, possible_name
from listener.config.settings import Parts
from listener.errors import ConfigError, Problem, StartError
from listener.runtime.owned import require_owned

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


_IN_PLACE_OF_CONFIG = ("path", "file")


def _or_found(context: typer.Context, given: Path | None) -> Path | None:
    """The configuration that is meant; None where the command line names something in its place.

    What stands on the command line is read before what does not, so it is known here.
    """
    source = context.get_parameter_source("config")
    if given is not None and source is not None and source.name == "COMMANDLINE":
        return given
    if any(context.params.get(name) is not None for name in _IN_PLACE_OF_CONFIG):
        return None
    return given or default_file(os.environ)


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        envvar=CONFIG_VARIABLE,
        callback=_or_found,
        help="The configuration (TOML). If left out: listener.toml here, or else in /etc/disposition-listener."
        " None is needed if LISTENER_ variables set everything.",
    ),
]


def nameable(path: Path | None) -> Path | None:
    """The same path, of an option or an argument. Raises BadParameter: no file can be called so."""
    try:
        return path and possible_name(path)
    except ValueError as exc:
        raise typer.BadParameter(f"{path}: {exc}") from exc


PathOption = Annotated[
    Path | None, typer.Option("--path", metavar="FILE", callback=nameable, help="The journal, instead of --config.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="The events unchanged, one JSON object per line.")]
ChatOption = Annotated[str | None, typer.Option("--chat", metavar="ID", help="Only this chat.")]


def sink_names(context: typer.Context) -> list[str]:
    """For completion by the shell: the sinks of the configuration that is meant, as far as it can be read."""
    with contextlib.suppress(ConfigError):
        given = context.params.get("config") or default_file(os.environ)
        return sorted(parts_of(given, find_files=False).sinks)
    return []


class Place(NamedTuple):
    """A journal, the kinds of the configured sinks by name, the configured accounts; None where they are not known."""

    journal: Path | Shared
    kinds: Mapping[str, str] | None
    accounts: Collection[str] | None = None


@contextlib.contextmanager
def naming_instead(config: Path | None, instead: str | None) -> Iterator[None]:
    """Where a configuration that is there cannot be used, the problems end with what works without it."""
    try:
        yield
    except ConfigError as exc:
        if instead is None or config is None or not config.exists():
            raise
        raise ConfigError([*exc.problems, Problem("", f"works without the configuration: {instead}")]) from exc


def place_of(
    config: Path | None, path: Path | None, *, instead: str | None = "--path FILE, which names the journal"
) -> Place:
    """What --config or --path names, without need of a secret or of what a sink needs.

    `instead` is told where the configuration cannot be used; None where the command has no such option.

    Raises BadParameter for both, ConfigError as `loading.load` where the journal's place is not known.
    """
    if config is not None and path is not None:
        raise typer.BadParameter("give either --config or --path")
    if path is not None:
        return Place(path, None)
    with naming_instead(config, instead):
        parts = parts_of(config, find_files=False)
        if parts.journal is None or not parts.sinks:
            load(config)  # tells what is wrong
    table = parts.journal or JournalSettings()
    journal = parts.base / table.path if table.url is None else Shared(table, parts.base)
    return Place(journal, {name: lane.type for name, lane in parts.sinks.items()}, _accounts_of(parts))


def _accounts_of(parts: Parts) -> Collection[str] | None:
    """The usernames of agents and supervisors; None where they are not known."""
    names = {account.username for account in parts.accounts.values()}
    if parts.accounts_file is not None:
        found = accounts_in(Folders.of(parts.base, os.environ).find(parts.accounts_file), "accounts_file")
        if found.problems:
            return None
        names |= {name for table in found.tables if isinstance(name := table.get("username"), str)}
    return names or None


def time_ms(text: str | None, option: str, now: datetime, zone: tzinfo = UTC) -> int | None:
    """Epoch milliseconds of `now`, of an RFC 3339 time (in `zone` if it has none) or of an age. Raises BadParameter."""
    if text is None:
        return None
    try:
        if text == "now":
            at = now
        elif ago := _AGO.fullmatch(text):
            at = now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo is not None else at.replace(tzinfo=zone)
        return round(at.timestamp() * 1000)
    except (ValueError, OverflowError) as exc:
        text = f"{text!r} is not a time: give 2026-11-22T09:39:00Z, now, or an age such as 45s, 30m, 2h, 3d, 1w"
        raise typer.BadParameter(text, param_hint=option) from exc


@contextlib.contextmanager
def replacing(path: Path, option: str, *, mode: int = 0o640) -> Iterator[TextIO]:
    """A text file that gets its name when it is complete and on the disk.

    Args:
        path: what it will be called.
        option: the option that names it.
        mode: its permission bits, less the umask; as a rule those of an audit file, for it holds the same data.

    Raises:
        StartError: it cannot be written, or what has the name is no file of ours: a device, a link.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        require_owned(path)  # root could replace /dev/null by a file
        try:
            part.unlink(missing_ok=True)  # what a killed process left, or somebody made so that it is written through
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
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
