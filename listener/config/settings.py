"""The whole configuration as tables; `loading` reads them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, ValidationInfo

from listener.config.http import HttpSettings
from listener.config.journal import JournalSettings
from listener.config.lane import LaneSettings, SinkName
from listener.config.proxy import ProxySettings
from listener.config.schema import (
    Folders,
    InputFile,
    SecretFile,
    Section,
    Url,
    placed,
    secret_in,
)
from listener.errors import Problem
from listener.model.media import CHAT, MediaType


def _json_safe(value: str) -> str:
    if not value or any(c in '"\\' or ord(c) < ord(" ") for c in value):
        raise ValueError("a userData key must not be empty or contain quotes, backslashes or control characters")
    return value


UserDataKey = Annotated[str, AfterValidator(_json_safe)]
AUTO = ("auto",)
"""In place of keys: the server's settings name them."""


def _alone(value: tuple[str, ...]) -> tuple[str, ...]:
    if AUTO[0] in value and value != AUTO:
        raise ValueError('"auto" stands alone')
    return value


UserDataKeys = Annotated[
    tuple[UserDataKey, ...],
    BeforeValidator(lambda value: AUTO if value == AUTO[0] else value),
    AfterValidator(_alone),
    Field(min_length=1),
]


def _rooted(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("should start with /")
    return value


def _found(value: Path, info: ValidationInfo) -> Path:
    return info.context.find(value) if isinstance(info.context, Folders) else value


AccountsFile = Annotated[Path, AfterValidator(_found)]  # what is wrong with it tells whoever reads it
RootedPath = Annotated[str, AfterValidator(_rooted)]


def _each_once(value: tuple[MediaType, ...]) -> tuple[MediaType, ...]:
    if len(set(value)) < len(value):
        raise ValueError("names a medium twice")
    return value


Media = Annotated[tuple[MediaType, ...], Field(min_length=1), AfterValidator(_each_once)]


def _base_url(value: str) -> str:
    if "?" in value or "#" in value:
        raise ValueError("should end with the path: paths are added to it")
    return value.rstrip("/")


BaseUrl = Annotated[Url, AfterValidator(_base_url)]


class ServerSettings(ProxySettings):
    """Where the Web Services are and how to talk to them."""

    url: BaseUrl
    notifications: RootedPath = "/api/v2/notifications"
    topic: RootedPath = "/v2/me/chats"
    login: Literal["basic", "none"] = "basic"
    transport: Literal["long-polling", "websocket"] = "long-polling"
    ack: bool = True
    verify: bool = True
    ca_file: InputFile | None = None
    client_cert_file: InputFile | None = None
    client_key_file: InputFile | None = None
    start_contact_center_session: bool = False
    connect_timeout_s: float = Field(default=10.0, gt=0)
    request_timeout_s: float = Field(default=30.0, gt=0)
    poll_margin_s: float = Field(default=10.0, gt=0)
    max_message_bytes: int = Field(default=4 * 2**20, ge=2**16)
    keepalive_s: float = Field(default=600.0, gt=0)
    reconcile_interval_s: float = Field(default=300.0, ge=0)


class AccountSettings(Section):
    """One agent, or one supervisor, whose chats are listened to."""

    username: str = Field(min_length=1)
    password: SecretStr | None = None
    password_file: SecretFile | None = None
    keys: UserDataKeys | None = None

    def secret(self, base: Path) -> str:
        """The password; a relative `password_file` is beside the configuration. Raises OSError or ValueError.

        A file is reread each time, so that a rotated password is found at the next login.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            return ""
        return secret_in(base / self.password_file)


def _names(value: object) -> object:
    """`a,b` is a list, as it comes from a variable; `all` is a word."""
    if isinstance(value, str) and value != "all":
        return [name.strip() for name in value.split(",")]
    return value


class SupervisorSettings(AccountSettings):
    """A supervisor, whose login hears the chats of agents whom it monitors."""

    monitor: Annotated[tuple[str, ...] | Literal["all"], BeforeValidator(_names)] = ()
    monitor_group: str | None = None
    start_contact_center_session: bool = True
    join_chats: bool = True
    refresh_s: float = Field(default=300.0, gt=0)
    revoked_chats: Literal["uncertain", "over"] = "uncertain"


class DispositionSettings(Section):
    """What is taken from a notification."""

    media: Media = (CHAT,)
    keys: UserDataKeys = ("DispositionCode",)
    user_data: tuple[UserDataKey, ...] = ()
    participants: Literal["agents", "all", "none"] = "agents"
    type_prefix: str = Field(default="disposition-listener", pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")


class LogSettings(Section):
    """What is logged, and how. `auto` is readable on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Settings(Section):
    """The whole configuration. `base` is the folder that relative paths start from.

    Built in code, its tables are checked one by one; what spans tables is checked by `loading.load`.
    """

    include: tuple[str, ...] = ()
    watch: bool | None = None
    server: ServerSettings
    accounts: tuple[AccountSettings, ...] = ()
    supervisors: tuple[SupervisorSettings, ...] = ()
    accounts_file: AccountsFile | None = None
    disposition: DispositionSettings = DispositionSettings()
    journal: JournalSettings = JournalSettings()
    sinks: dict[SinkName, LaneSettings] = Field(min_length=1)
    http: HttpSettings | None = None
    log: LogSettings = LogSettings()
    shutdown_timeout_s: float = Field(default=5.0, ge=0)
    disconnect_on_stop: bool = False
    base: Path = Field(default=Path(), exclude=True)
    _renamed: tuple[str, ...] = PrivateAttr(default=())
    _places: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _files: Sequence[Path] = PrivateAttr(default=())

    @property
    def files(self) -> Sequence[Path]:
        """What it was read from: the main file, those that it includes, and the file of accounts."""
        beside = self.accounts_file
        return [*self._files, *([beside] if beside is not None and beside.is_file() else [])]

    @property
    def renamed(self) -> tuple[str, ...]:
        """For each key that was given by an old name, which still counts: a sentence that names both."""
        return self._renamed

    def read_as(self, *, renamed: tuple[str, ...], places: Mapping[str, str], files: Sequence[Path]) -> Self:
        """The same, with what is known of where it was read; see `renamed`, and `Parts` for the others."""
        self._renamed, self._places, self._files = renamed, places, files
        return self

    @property
    def is_watched(self) -> bool:
        """Whether changed files take effect by themselves; as a rule those of somebody who has several."""
        return bool(self.include or self.accounts_file) if self.watch is None else self.watch

    def keys_of(self, account: AccountSettings) -> tuple[str, ...]:
        """The userData keys that hold a disposition of this account, or `AUTO`."""
        return account.keys or self.disposition.keys

    def listening_accounts(self) -> tuple[AccountSettings, ...]:
        """The accounts and the supervisors; with `login = "none"` and none configured, one nameless listener."""
        return (*self.accounts, *self.supervisors) or (AccountSettings(username="listener"),)

    def marks(self) -> tuple[str, ...]:
        """What each of `listening_accounts` is called where names are not told.

        Its table, such as `accounts[0]`, or what it is in `accounts_file`: a line of the CSV file, or one of a folder's
        files in the order of their names, which are usernames.
        """
        marks, files = [], 0
        for path in self.parts().accounts:
            place = self._places.get(path, "")
            _, colon, line = place.removesuffix(": ").rpartition(":")
            if not place.endswith(": "):  # a table, of this file or of one that is included
                marks.append(path)
            elif colon and line.isdecimal():
                marks.append(f"accounts_file line {line}")
            else:
                files += 1
                marks.append(f"accounts_file entry {files}")
        return tuple(marks)

    def placed(self, problems: Iterable[Problem]) -> list[Problem]:
        """The same problems, where each was written; see `schema.placed`."""
        return self.parts().placed(problems)

    def parts(self) -> "Parts":
        """Its tables, all of them sound."""
        accounts = {f"accounts[{number}]": account for number, account in enumerate(self.accounts)}
        accounts |= {f"supervisors[{number}]": one for number, one in enumerate(self.supervisors)}
        return Parts(
            base=self.base,
            server=self.server,
            accounts=accounts,
            journal=self.journal,
            http=self.http,
            sinks=self.sinks,
            places=self._places,
            accounts_file=self.accounts_file,
            files=self._files,
        )

    def path(self, value: Path) -> Path:
        """A configured path, made absolute from the configuration's folder."""
        return self.base / value


class Parts(NamedTuple):
    """The tables of a configuration that are sound, each by itself; None for one that is not. `base` as in `Settings`.

    `accounts` by their places, such as `accounts[0]`. `sinks` are unchecked, unless they are those of `Settings`.
    `places` as `schema.placed` has them; `files` are the main file, and those that it includes.
    """

    base: Path
    server: ServerSettings | None
    accounts: Mapping[str, AccountSettings]
    journal: JournalSettings | None
    http: HttpSettings | None
    sinks: Mapping[str, LaneSettings]
    places: Mapping[str, str] = {}
    accounts_file: Path | None = None
    files: Sequence[Path] = ()

    def placed(self, problems: Iterable[Problem]) -> list[Problem]:
        """The same problems, where each was written; see `schema.placed`."""
        return [placed(problem, self.places) for problem in problems]
