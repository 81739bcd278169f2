"""What stands in the way of a configuration on this host, without a connection: one list for `check` and for `run`."""

import os
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from yarl import URL

from listener.config.http import is_loopback
from listener.config.journal import JournalSettings, JournalTable
from listener.config.schema import named_input_files
from listener.config.settings import Parts
from listener.daemon import connections
from listener.errors import ConfigError, Problem, StartError
from listener.journal.sqlite.lock import may_be_owned
from listener.runtime.owned import refusal_to_write
from listener.sinks import registry
from listener.web.server import refusal_to_listen

_NO_SECRETS = ("ca_file", "client_cert_file")


def setting_problems(parts: Parts) -> list[Problem]:
    """What is wrong with files and folders that the settings name. Blocks."""
    found: list[Problem] = []
    if parts.server is not None:
        try:
            connections.tls_context(parts.server)
        except ConfigError as exc:
            found += exc.problems
    if parts.journal is not None:
        found += _of_replicas(parts) if parts.journal.url else _of_one_machine(parts)
    return parts.placed(found)


def _of_one_machine(parts: Parts) -> Iterator[Problem]:
    if parts.journal is not None and not (folder := (parts.base / parts.journal.path).parent).is_dir():
        yield Problem("journal.path", f"there is no folder {folder}")
    for name, lane in parts.sinks.items():
        if lane.on is not None:
            yield Problem(f"sinks.{name}.on", "needs journal.url: without it there are no replicas")


def _of_replicas(parts: Parts) -> Iterator[Problem]:
    """What a configuration for replicas needs."""
    if (lacking := registry.lacking("postgres")) is not None:
        yield Problem("journal.url", lacking)
    if parts.journal is not None and parts.journal.encrypted:
        try:
            parts.journal.ssl_context(JournalTable(parts.base))
        except StartError as exc:
            place, _, text = str(exc).partition(": ")
            yield Problem(place, text)
    for name, lane in parts.sinks.items():
        with suppress(ConfigError):  # of a kind that there is not, which is told elsewhere
            if lane.on is None and registry.is_pinned(name, lane):
                text = f'"{lane.type}" writes on the host where it runs, so with journal.url it needs on = "REPLICA":'
                yield Problem(f"sinks.{name}.on", f"{text} the name of the one that has it (journal.replica)")


def host_problems(parts: Parts) -> list[Problem]:
    """What the host refuses at this moment: files, folders, the port. Changes nothing, and blocks.

    The port is left out while another daemon may own the journal: it would be that one's own. So it is where replicas
    share a database, since nothing tells whether one runs here.
    """
    sinks = host_problems_of_sinks(parts, parts.sinks)
    return [*parts.placed([*_of_the_journal(parts)]), *sinks, *parts.placed([*_of_the_port(parts)])]


def host_problems_of_sinks(parts: Parts, names: Iterable[str]) -> list[Problem]:
    """What the host refuses these sinks at this moment, as far as they are this replica's. Blocks."""
    lanes = {name: parts.sinks[name] for name in names}
    if parts.journal is not None:
        lanes = {name: lane for name, lane in lanes.items() if parts.journal.is_here(lane.on)}
    return parts.placed(
        [problem for name, lane in lanes.items() for problem in registry.host_problems(name, lane, parts.base)]
    )


def _of_the_journal(parts: Parts) -> Iterator[Problem]:
    if parts.journal is None or parts.journal.url is not None:
        return
    path = parts.base / parts.journal.path
    if not path.parent.is_dir():
        return
    if (why := refusal_to_write(path.parent)) is not None:
        yield Problem("journal.path", f"cannot write to the folder {path.parent}: {why}")
    elif path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
        yield Problem("journal.path", f"cannot read and write {path}")


def _of_the_port(parts: Parts) -> Iterator[Problem]:
    if parts.http is None or (parts.journal is not None and _may_run_here(parts.journal, parts.base)):
        return
    host, port = parts.http.address
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as listening:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.bind(address)
    except OSError as exc:
        yield Problem("http.listen", refusal_to_listen(host, port, exc))


def _may_run_here(journal: JournalSettings, base: Path) -> bool:
    return journal.url is not None or may_be_owned(base / journal.path)


def warnings(parts: Parts) -> list[Problem]:
    """What works and is not safe: secrets that every user of the host may read, or that pass a network unencrypted."""
    return parts.placed([*_passwords_in_the_clear(parts), *_open_secrets(parts)])


def _passwords_in_the_clear(parts: Parts) -> Iterator[Problem]:
    journal = parts.journal
    if journal is not None and journal.url is not None and not journal.encrypted:
        host = str(journal.address["host"])
        if not host.startswith("/") and not is_loopback(host):
            yield Problem("journal.tls", f"events, and the login, pass the network to {host} unencrypted")
    if parts.server is None or parts.server.login != "basic":
        return
    url = URL(parts.server.url)
    if url.scheme == "http" and not is_loopback(url.host or "") and "${" not in parts.server.url:  # not set: an error
        yield Problem("server.url", f"each login sends the password to {url.host} unencrypted: use https://")


def _open_secrets(parts: Parts) -> Iterator[Problem]:
    """Each file of secrets that every user may read; the password files of accounts, which may be thousands, in one."""
    tables = [("server", parts.server), ("http", parts.http), ("journal", parts.journal)]
    files = [file for place, table in tables if table is not None for file in named_input_files(table, place)]
    if parts.accounts_file is not None and parts.accounts_file.is_file():
        files.append(("accounts_file", parts.accounts_file))
    accounts = [file for place, table in parts.accounts.items() for file in named_input_files(table, place)]
    sinks = parts.sinks.items()
    of_sinks = [file for name, lane in sinks for file in registry.named_input_files(name, lane, parts.base)]
    yield from (Problem(place, _open_secret(path)) for place, path in files if _is_open(place, path))
    if opened := [(place, path) for place, path in accounts if _is_open(place, path)]:
        more = f"; likewise {len(opened) - 1} more password files" if opened[1:] else ""
        yield Problem(opened[0][0], _open_secret(opened[0][1]) + more)
    yield from (Problem(place, _open_secret(path)) for place, path in of_sinks if _is_open(place, path))


def _is_open(place: str, path: Path) -> bool:
    """Whether every user may read a secret. What Kubernetes mounts, through `..data`, only the container has."""
    if place.endswith(_NO_SECRETS) or not _mode(path) & stat.S_IROTH:
        return False
    return not (path.parent / "..data").is_symlink()


def _open_secret(path: Path) -> str:
    return f"every user of this host can read {path} (mode {_mode(path):04o}): chmod o-r"


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
