"""`check`: every problem of a configuration at once; with `--connect`, also of what it connects to."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from listener.cli import running
from listener.cli.options import ConfigOption
from listener.config.loading import parts_of
from listener.config.settings import AUTO, Parts, Settings
from listener.daemon import preflight
from listener.daemon.assembly import load_checked, topics_of
from listener.daemon.probes import probe
from listener.errors import ConfigError, Problem
from listener.webservices.media import MEDIA

_NAMED_ACCOUNTS = 5

ConnectOption = Annotated[
    bool, typer.Option("--connect", help="Also log in every account, and probe the shared journal and every sink.")
]


def check(config: ConfigOption = None, connect: ConnectOption = False) -> None:
    """Check a configuration and list every problem.

    Each problem names its setting. Warnings change no exit status. A secret
    that others can read, here or on its way, is a problem, and keeps no
    listener from running.

    Examples:
        disposition-listener check --config listener.toml
        # Also log in every account, and reach every sink:
        disposition-listener check --config listener.toml --connect

    Exit status:
        0: The configuration can be used.
        78: It cannot be used, as it is or on this host: each problem is a line.
    """
    try:
        settings = load_checked(config)
    except ConfigError as exc:
        parts = parts_of(config)
        raise ConfigError([*exc.problems, *_of_the_host(parts), *preflight.unsafe(parts)]) from exc
    found = [*_of_the_host(settings.parts()), *(running.run(probe(settings)) if connect else ())]
    unsafe = preflight.unsafe(settings.parts())
    if unsafe and not found:
        print("note: `run` logs this and goes on", file=sys.stderr)
    if found or unsafe:
        raise ConfigError(list({str(problem): problem for problem in (*found, *unsafe)}.values()))
    print(f"ok: {config or 'the environment'}")
    for name, text in _summary(settings, connected=connect):
        print(f"  {name:<9} {text}")


def _of_the_host(parts: Parts) -> list[Problem]:
    """What the host refuses; prints what may not be meant."""
    for warning in preflight.warnings(parts):
        print(f"warning: {warning}", file=sys.stderr)
    return preflight.host_problems(parts)


def _summary(settings: Settings, *, connected: bool) -> Iterator[tuple[str, str]]:
    """What the configuration says, without secrets."""
    server = settings.server
    topics = topics_of(settings)
    named = f"topic{'s' if len(topics) > 1 else ''} {', '.join(topics.values())}"
    yield "server", f"{server.url}{server.notifications}, {named}, {server.transport}"
    yield "accounts", _accounts(settings) + (", all logged in" if connected and server.login == "basic" else "")
    for medium in settings.disposition.media:
        if (limit := MEDIA[medium].limit) is not None:
            yield "note", f"{medium}: {limit}"
    keys = settings.disposition.keys
    yield "keys", "those that the server names" if keys == AUTO else ", ".join(keys)
    yield "journal", _journal(settings, connected=connected)
    sinks = ", ".join(f"{name} ({lane.type})" for name, lane in settings.sinks.items())
    yield "sinks", sinks + (", all reached" if connected else "")
    yield "http", settings.http.listen if settings.http else "off"
    for text in settings.renamed:
        yield "renamed", text


def _accounts(settings: Settings) -> str:
    names = [account.username for account in (*settings.accounts, *settings.supervisors)]
    if not names:
        return "none: the server needs no login"
    more = len(names) - _NAMED_ACCOUNTS
    return ", ".join(names[:_NAMED_ACCOUNTS]) + (f" and {more} more" if more > 0 else "")


def _journal(settings: Settings, *, connected: bool) -> str:
    journal = settings.journal
    if journal.url is not None:
        return f"{journal.url}, as replica {journal.replica_name}" + (", reached" if connected else "")
    path = settings.path(journal.path)
    return f"{path}" + ("" if path.exists() else " (not there yet)")
