"""`journal copy`: all of a journal into a new one, on the other engine or the same, checked before it is there."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from listener.cli import running
from listener.cli.options import ConfigOption, nameable, place_of
from listener.cli.shared import Shared
from listener.config.journal import JournalSettings
from listener.config.loading import parts_of
from listener.errors import ConfigError, Problem
from listener.journal.copying import Held, Side, Target, copy
from listener.journal.sqlite import copying as sqlite
from listener.model.event import Damage, rfc3339

FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="JOURNAL",
        help="A file, postgresql://…, or the journal of a configuration (*.toml); left out, that of --config.",
    ),
]
ToOption = Annotated[str | None, typer.Option("--to", metavar="JOURNAL", help="Likewise; it must not hold anything.")]
RestoreOption = Annotated[
    bool, typer.Option("--restore", help="The source is a backup: what came after it is a gap of each account.")
]


def journal_copy(
    config: ConfigOption = None, source: FromOption = None, target: ToOption = None, restore: RestoreOption = False
) -> None:
    """Copy a journal with all it holds.

    So with sequences, cursors, dead letters, last values, sessions and states of lanes. No daemon may run on either
    side. The copy is there as a whole, once it was read again and is what the source is, or not at all. With --restore,
    into a file, sequences go on above all that a sink can have seen, and the next start records what may be missing
    since the last event of the backup.

    Examples:
        # From a file into the database that replicas share:
        disposition-listener journal copy --from journal.db --config shared.toml
        # From a backup, on a fresh disk:
        disposition-listener journal copy --from backup.db --to journal.db --restore
    """
    if source is None and target is None:
        raise typer.BadParameter("give --from, --to, or both")
    if None in (source, target) and config is None:
        raise typer.BadParameter("give --config too: the side that is left out is its journal")
    place = _place(target, config)
    if restore and isinstance(place, Shared):
        raise typer.BadParameter("goes into a file; a database is restored by its own means", param_hint="--restore")
    held = running.run(_copied(_place(source, config), place, restored=restore))
    print(f"copied {held.events} events, last sequence {held.last_sequence}; both sides: SHA-256 {held.digest}")
    print(f"with {held.values} last values, {held.letters} dead letters, {held.sessions} sessions")
    if restore:
        print("the next start records as gaps what may be missing since its last event")


Place = Path | Shared


def _place(named: str | None, config: Path | None) -> Place:
    """What is named. Login and TLS of a url are those of `[journal]` of --config, or of the environment."""
    if named is not None and "://" in named:
        parts = parts_of(config, find_files=False)
        return Shared(_at(named, parts.journal), parts.base)
    if named is not None and not named.endswith(".toml"):
        nameable(path := Path(named))
        return path
    return place_of(config if named is None else Path(named), None, instead=None).journal


def _at(url: str, table: JournalSettings | None) -> JournalSettings:
    """The table of a journal at this url, with the login of another one if there is any. Raises ConfigError."""
    given = {} if table is None or table.url is None else table.model_dump(exclude_unset=True)
    try:
        return JournalSettings.model_validate({**given, "url": url})
    except ValidationError as exc:
        raise ConfigError([Problem("journal.url", error["msg"]) for error in exc.errors(include_input=False)]) from exc


async def _copied(source: Place, target: Place, *, restored: bool) -> Held:
    async with _source(source) as given, _target(target, restored=restored) as made:
        rows = await given.size()
        with _progress(2 * rows) as told:
            return await copy(given, made, told)


@asynccontextmanager
async def _source(place: Place) -> AsyncIterator[Side]:
    if isinstance(place, Shared):
        async with _postgres(place).opened_source(place.options()) as side:
            yield side
        return
    async with sqlite.opened_source(place) as side:
        for damage in await side.damages():
            print(
                f"note: the copy does not tell {_what(damage)}; the gaps of it are events, and copied", file=sys.stderr
            )
        yield side


def _target(place: Place, *, restored: bool) -> AbstractAsyncContextManager[Target]:
    if isinstance(place, Shared):
        made: AbstractAsyncContextManager[Target] = _postgres(place).opened_target(place.options())
        return made
    return sqlite.opened_target(place, restored=restored)


def _postgres(place: Shared) -> Any:
    """The module, whose client library is optional."""
    place.options()
    return import_module("listener.journal.postgres.copying")


def _what(damage: Damage) -> str:
    aside = f", set aside as {damage.set_aside}" if damage.set_aside else ""
    return f"that this file was {'damaged' if damage.set_aside else 'lost'} at {rfc3339(damage.at_ms)}{aside}"


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; called with how much more is done."""
    if not sys.stdout.isatty():
        yield lambda _: None
        return
    columns = (TextColumn("copying"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(highlight=False), transient=True) as bar:
        task = bar.add_task("copying", total=total)
        yield lambda rows: bar.advance(task, rows)


COMMANDS: dict[str, Callable[..., Any]] = {"copy": journal_copy}
