"""What stands in the way of a configuration on this host, without a connection: one list for `check` and for `run`."""

import os
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from os.path import realpath  # Path.resolve raises where links lead in a circle
from pathlib import Path

from yarl import URL

from listener.config.http import is_loopback
from listener.config.journal import JournalSettings, JournalTable
from listener.config.login import exposure
from listener.config.schema import named_input_files, secrets_of
from listener.config.settings import Parts
from listener.daemon import connections
from listener.errors import ConfigError, Problem, StartError
from listener.journal.sqlite.lock import may_be_owned
from listener.runtime.open_files import allowed
from listener.runtime.owned import refusal_to_write
from listener.sinks import registry
from listener.web.server import refusal_to_listen

_FILES_BESIDE = 100  # what is open beside the sessions: journal, audit files, sinks, readings of chats, commands


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
    if parts.journal is not None:
        folder = (parts.base / parts.journal.path).parent
        with suppress(OSError):  # what the host refuses tells `_of_the_journal`
            if not folder.is_dir():
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
    try:
        if not path.parent.is_dir():
            return
        if (why := refusal_to_write(path.parent)) is not None:
            yield Problem("journal.path", f"cannot write to the folder {path.parent}: {why}")
        elif path.exists() and not (path.is_file() and os.access(path, os.R_OK | os.W_OK)):
            yield Problem("journal.path", f"cannot read and write {path}")
    except OSError as exc:  # a folder above may not be entered
        yield Problem("journal.path", f"cannot read and write {path}: {exc.strerror}")


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


def unsafe(parts: Parts) -> list[Problem]:
    """Secrets that others can read, here or on their way. `check` refuses them, and `run` goes on: it must listen.

    Blocks.
    """
    sinks = parts.sinks.items()
    exposed = [problem for name, lane in sinks for problem in registry.exposures(name, lane, parts.base)]
    return parts.placed([*_logins_in_the_clear(parts), *exposed, *_open_secrets(parts)])


def warnings(parts: Parts) -> list[Problem]:
    """What works, and may not be meant: a journal without TLS, passwords with blanks, too few open files. Blocks."""
    return parts.placed([*_unencrypted_journal(parts), *_padded_passwords(parts), *_too_few_files(parts)])


def _too_few_files(parts: Parts) -> Iterator[Problem]:
    limit, wanted = allowed(), len(parts.accounts) + _FILES_BESIDE
    if limit is not None and limit < wanted:
        text = f"{len(parts.accounts)} need a socket each, and this host lets a process open {limit} files"
        yield Problem("accounts", f"{text}: raise that (ulimit -Hn, LimitNOFILE) to {wanted} at least")


def _padded_passwords(parts: Parts) -> Iterator[Problem]:
    """Of accounts; what cannot be read is told elsewhere."""
    for place, account in parts.accounts.items():
        with suppress(OSError, ValueError):
            password = account.secret(parts.base)
            if password != password.strip():
                key = "password" if account.password_file is None else "password_file"
                yield Problem(f"{place}.{key}", "begins or ends with a blank, which counts as part of the password")


def _unencrypted_journal(parts: Parts) -> Iterator[Problem]:
    journal = parts.journal
    if journal is not None and journal.url is not None and not journal.encrypted:
        host = str(journal.address["host"])
        if not host.startswith("/") and not is_loopback(host):
            yield Problem("journal.tls", f"events pass the network to {host} unencrypted")


def _logins_in_the_clear(parts: Parts) -> Iterator[Problem]:
    if parts.journal is not None:
        yield from (Problem(f"journal.{key}", text) for key, text in parts.journal.exposures())
    if parts.server is None or parts.server.login != "basic":
        return
    url = URL(parts.server.url)
    text = exposure((url.host or "",), "https://") if url.scheme == "http" else None
    if text is not None and "${" not in parts.server.url:  # not set: an error
        yield Problem("server.url", text)


def _open_secrets(parts: Parts) -> Iterator[Problem]:
    """Each file of secrets that every user may read; the password files of accounts, which may be thousands, in one."""
    tables = [("server", parts.server), ("http", parts.http), ("journal", parts.journal)]
    files = [file for place, table in tables if table is not None for file in named_input_files(table, place)]
    if parts.accounts_file is not None and _holds_passwords(parts):
        files.append(("accounts_file", parts.accounts_file))
    accounts = [file for place, table in parts.accounts.items() for file in named_input_files(table, place)]
    sinks = parts.sinks.items()
    of_sinks = [file for name, lane in sinks for file in registry.named_input_files(name, lane, parts.base)]
    yield from (Problem(place, _open_secret(path)) for place, path in _open(files))
    yield from (Problem(path.name, f"holds a secret, and {_open_secret(path)}") for path in _open_configuration(parts))
    if opened := _open(accounts):
        more = f"; likewise {len(opened) - 1} more password files" if opened[1:] else ""
        yield Problem(opened[0][0], _open_secret(opened[0][1]) + more)
    yield from (Problem(place, _open_secret(path)) for place, path in _open(of_sinks))


def _open_configuration(parts: Parts) -> Iterator[Path]:
    """The files of the configuration that hold a secret themselves, as it stands there in quotes, and are open."""
    files = [path for path in parts.files if path.is_file() and _is_open(path)]
    tables = [parts.server, parts.http, parts.journal, *parts.accounts.values()] if files else []
    secrets = {secret for table in tables for secret in secrets_of(table) if secret}
    for name, lane in parts.sinks.items() if files else ():
        secrets.update(registry.secrets_of(name, lane, parts.base))
    for path in files:
        text = path.read_text("utf-8", "replace")
        if any(f"{quote}{secret}{quote}" in text for secret in secrets for quote in "\"'"):
            yield path


def _holds_passwords(parts: Parts) -> bool:
    """Whether the file of accounts does. One with names of files alone is no secret."""
    of_file = (one for place, one in parts.accounts.items() if parts.places.get(place, "").endswith(": "))
    return any(one.password is not None for one in of_file)


def _open(files: Iterable[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Those that hold a secret and that every user may read."""
    named = list(files)
    keyed = {place.removesuffix("client_key_file") for place, _ in named if place.endswith("client_key_file")}
    harmless = {f"{table}client_cert_file" for table in keyed}  # without a key beside it, it holds the key too
    return [
        (place, path)
        for place, path in named
        if place not in harmless and not place.endswith("ca_file") and _is_open(path)
    ]


def _is_open(path: Path) -> bool:
    """Whether every user may read a file, and reach it. What Kubernetes mounts, through `..data`, only the pod has."""
    if not _mode(path) & stat.S_IROTH or (path.parent / "..data").is_symlink():
        return False
    return all(_mode(folder) & stat.S_IXOTH for folder in Path(realpath(path)).parents)


def _open_secret(path: Path) -> str:
    return f"every user of this host can read {path} (mode {_mode(path):04o}): chmod o-r"


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
