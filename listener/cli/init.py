"""`init`: asks, looks at the server, and writes a configuration that passes `check`."""

import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import typer
from pydantic import TypeAdapter, ValidationError

from listener.cli import running
from listener.cli.first_config import Answers, text_of
from listener.cli.options import nameable, replacing
from listener.config.accounts_file import COLUMNS, accounts_in
from listener.config.http import HttpSettings
from listener.config.loading import default_file
from listener.config.schema import Url
from listener.config.settings import DispositionSettings, ServerSettings, Settings
from listener.daemon import preflight
from listener.daemon.assembly import load_checked
from listener.daemon.probes import Survey, survey
from listener.errors import ConfigError, StartError

_KEY = "DispositionCode"
_TEAM = "agents.csv"
_LISTEN = "127.0.0.1:9464"
_API = re.compile(r"/api(/v\d+)?/*$")
_PLAIN = re.compile(r"[\w@][\w.@-]*")
T = TypeVar("T")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", callback=nameable, help="The configuration to write.")]
ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="The Web Services, without /api: https://gws.example.com.")
]
CaFileOption = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="Certificates to trust instead of the system's.")
]
AccountsOption = Annotated[
    Path | None,
    typer.Option(
        "--accounts-file",
        metavar="FILE",
        help="A team: a CSV file with username,password, or a folder with a file for each password; agents.csv if"
        " there is one.",
    ),
]
UsernameOption = Annotated[
    str | None, typer.Option("--username", metavar="NAME", help="A single agent, in place of a team.")
]
PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", metavar="FILE", help="The agent's password, alone in a file.")
]
KeyOption = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="KEY", help='A userData key that holds a disposition, or "auto". May be repeated.'),
]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", metavar="FOLDER", help="For journal and audit file; made if it is missing.")
]
WebhookOption = Annotated[
    str | None, typer.Option("--webhook", metavar="URL", help="Deliver to this address as well; none if empty.")
]
ListenOption = Annotated[
    str | None, typer.Option("--listen", metavar="HOST:PORT", help="For console and metrics; none if empty.")
]
NoProbeOption = Annotated[bool, typer.Option("--no-probe", help="Do not connect to the server.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what is given, and defaults.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the files that are there.")]


def init(  # noqa: PLR0913, PLR0917 - a question each
    file: FileArgument = Path("listener.toml"),
    server: ServerOption = None,
    ca_file: CaFileOption = None,
    accounts_file: AccountsOption = None,
    username: UsernameOption = None,
    password_file: PasswordOption = None,
    key: KeyOption = None,
    folder: FolderOption = None,
    webhook: WebhookOption = None,
    listen: ListenOption = None,
    no_probe: NoProbeOption = False,
    yes: YesOption = False,
    force: ForceOption = False,
) -> None:
    """Write a first configuration.

    It asks for what it needs, and looks at the server. What an option gives is not asked. The first account is logged
    in once, and the server is asked for its version, the acknowledge extension and the disposition key. Without a
    network all the rest is written as well. Nothing is written before the last question, and no file is replaced
    without --force.

    Examples:
        disposition-listener init
        # A team (username,password), without questions:
        disposition-listener init -y --server https://gws --accounts-file team.csv

    Exit status:
        0: The configuration is written and passes check.
        1: A file is there already, or cannot be written.
        78: It is written, and check has something against it.
    """
    if file.exists() and not force:
        raise StartError(f"{file} is there already: give another name, or --force to replace it")
    desk = _Desk(asks=not yes, base=file.absolute().parent)
    url = desk.answer("--server", server, "Address of the Web Services", None, _url)
    who = _who(desk, accounts_file, username, password_file)
    trusted = None if ca_file is None else desk.path(str(ca_file))
    looked, trusted = (Survey(), trusted) if no_probe else _look(desk, url, trusted, who.table)
    named = ",".join(key or ()) or None
    keys = desk.answer("--key", named, "UserData keys of dispositions", looked.key or _KEY, _keys)
    place = desk.answer("--folder", folder, "Folder for journal and audit file", os.path.relpath(desk.base), desk.path)
    crm = desk.answer("--webhook", webhook, "Address of a webhook, empty for none", "", _webhook)
    console = desk.answer("--listen", listen, "Console and metrics, empty for none", _LISTEN, _listen)
    answers = Answers(url, trusted, who.accounts_file, who.username, who.password_file, keys, place, crm, console)
    _write(file, answers, who, desk.base, force=force)
    _check(file, probed=not no_probe and not looked.problems)


class _Desk:
    """Where questions are answered: by an option, by whoever sits there, or by a default.

    Args:
        asks: whether somebody sits there.
        base: the folder that paths are written from, if they are inside of it.
    """

    def __init__(self, *, asks: bool, base: Path) -> None:
        self.asks = asks
        self.base = base

    def answer(self, option: str, given: object, question: str, default: str | None, parse: Callable[[str], T]) -> T:
        """The answer as `parse` has it, which raises ValueError for one that will not do: then it is asked again.

        Raises BadParameter where nobody can be asked.
        """
        if given is not None or not self.asks:
            text = default if given is None else str(given)
            if text is None:
                raise typer.BadParameter("is needed where nothing is asked (--yes)", param_hint=option)
            try:
                return parse(text)
            except ValueError as exc:
                raise typer.BadParameter(str(exc), param_hint=option) from exc
        while True:
            try:
                return parse(typer.prompt(question, default=default, show_default=bool(default)))
            except ValueError as exc:
                print(f"  {exc}")

    def path(self, text: str) -> Path:
        """A path as it is written: what is typed starts from the working folder, what is written from `base`."""
        path = Path(os.path.normpath(Path.cwd() / text))  # resolve() would follow links
        return path.relative_to(self.base) if path.is_relative_to(self.base) else path


class _Who(NamedTuple):
    """Who is heard.

    Attributes:
        table: of the first account, for a look at the server.
        accounts_file: of a team, as it is written.
        username: of a single agent.
        password_file: the agent's, as it is written.
        password: what is to be written there; None where it is there already.
    """

    table: dict[str, Any]
    accounts_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    password: str | None = None


def _who(desk: _Desk, accounts_file: Path | None, username: str | None, password_file: Path | None) -> _Who:
    if username is None:
        there = _TEAM if Path(_TEAM).exists() else None
        question = f"File of a team ({','.join(COLUMNS[:2])}) or folder of passwords"
        question += "" if there else ", empty for one agent"
        team = desk.answer("--accounts-file", accounts_file, question, there or ("" if desk.asks else None), _team)
        if team is not None:
            path, table = team
            return _Who(table, accounts_file=desk.path(str(path)))
    name = desk.answer("--username", username, "Username of the agent", None, _name)
    if password_file is None and desk.asks:
        password = typer.prompt(f"Password of {name}", hide_input=True)
        file = Path(f"{name if _PLAIN.fullmatch(name) else 'agent'}.secret")
        return _Who({"username": name, "password": password}, username=name, password_file=file, password=password)
    path = desk.answer("--password-file", password_file, "", None, Path)
    table = {"username": name, "password_file": str(path.absolute())}
    return _Who(table, username=name, password_file=desk.path(str(path)))


def _team(text: str) -> tuple[Path, dict[str, Any]] | None:
    """The path and the table of the first account; None where nothing is named."""
    if not text:
        return None
    path = Path(text)
    found = accounts_in(path.absolute(), text)
    if found.problems:
        raise ValueError("; ".join(problem.text for problem in found.problems))
    if not found.tables:
        raise ValueError(f"{text} holds no account")
    return path, found.tables[0]


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError("a username must not be empty")
    return text.strip()


def _url(text: str) -> str:
    url = _valid(lambda: ServerSettings(url=text)).url
    if found := _API.search(url):
        raise ValueError(f"leave out {found[0]}: it is added")
    return url


def _keys(text: str) -> tuple[str, ...]:
    keys = [key.strip() for key in text.split(",")]
    return _valid(lambda: DispositionSettings.model_validate({"keys": keys})).keys


def _webhook(text: str) -> str | None:
    return _valid(lambda: TypeAdapter(Url).validate_python(text)) if text else None


def _listen(text: str) -> str | None:
    return _valid(lambda: HttpSettings(listen=text)).listen if text else None


def _valid(make: Callable[[], T]) -> T:
    try:
        return make()
    except ValidationError as exc:
        raise ValueError(exc.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _look(desk: _Desk, url: str, ca_file: Path | None, account: dict[str, Any]) -> tuple[Survey, Path | None]:
    """What the server says, and the authorities that it took; asks for them where they are what is missing."""
    while True:
        print(f"looking at {url} …", flush=True)
        server = {"url": url, "ca_file": None if ca_file is None else desk.base / ca_file}
        table = {"server": server, "accounts": [account], "sinks": {"audit": {"type": "stdout"}}, "base": desk.base}
        try:
            looked = running.run(survey(Settings.model_validate(table)))
        except ConfigError as exc:
            looked = Survey(problems=exc.problems)
        if not looked.problems:
            _tell(looked, str(account["username"]))
            return looked, ca_file
        for problem in looked.problems:
            print(f"  {problem.text}")
        if desk.asks and "ca_file" in str(looked.problems[0]):
            answer = desk.answer("--ca-file", None, "File of the authority, empty for none", "", str)
            ca_file = desk.path(answer) if answer else None
            if answer:
                continue
        if desk.asks:
            typer.confirm("Go on all the same?", default=True, abort=True)
        return looked, ca_file


def _tell(looked: Survey, username: str) -> None:
    acknowledged = "offered" if looked.ack else "not offered: an answer that is cut on its way is a gap on record"
    print(f"  version   {looked.version or 'not told'}")
    print(f"  login     {username}: granted")
    print(f"  ack       {acknowledged}")
    print(f"  key       {looked.key or 'not named'}")


def _write(file: Path, answers: Answers, who: _Who, base: Path, *, force: bool) -> None:
    """Raises StartError: a file is there already, or something cannot be written."""
    try:
        base.mkdir(parents=True, exist_ok=True)
        (base / answers.folder).mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StartError(f"cannot make the folder {exc.filename}: {exc.strerror}") from exc
    if who.password is not None and who.password_file is not None:
        secret = base / who.password_file
        if secret.exists() and not force:
            raise StartError(f"{secret} is there already: give it with --password-file, or --force to replace it")
        with replacing(secret, "--username", mode=0o600) as writing:
            writing.write(f"{who.password}\n")
    with replacing(file, "FILE", mode=0o644) as writing:  # it holds no secret
        writing.write(text_of(answers))


def _check(file: Path, *, probed: bool) -> None:
    """Say what there is now and what comes next. Raises ConfigError: `check` has something against it."""
    print(f"written: {file}" + ("" if probed else " (nothing is known of the server yet)"))
    parts = load_checked(file).parts()
    for warning in (*preflight.unsafe(parts), *preflight.warnings(parts)):
        print(f"warning: {warning}", file=sys.stderr)
    if problems := preflight.host_problems(parts):
        raise ConfigError(problems)
    found = default_file(os.environ)
    option = "" if found is not None and found.absolute() == file.absolute() else f" --config {shlex.quote(str(file))}"
    print("next:")
    for command, what in (
        ("check --connect", "logs every account in, and reaches every sink"),
        ("run", "listens, until Ctrl-C"),
        ("tail -f", "shows dispositions as they come, in another terminal"),
    ):
        print(f"  {running.program()} {command}{option}  # {what}")
