"""The whole configuration: TOML, environment (`LISTENER_SERVER__URL`), secret files. Problems are collected, never raised one by one."""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, TypeAdapter, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from listener.errors import ConfigError, Problem

ENV_PREFIX = "LISTENER_"


class Section(BaseModel):
    """A table of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _plain_url(value: str) -> str:
    """Checked as a URL, kept as written, without a slash at its end."""
    TypeAdapter(HttpUrl).validate_python(value)
    return value.rstrip("/")


Url = Annotated[str, AfterValidator(_plain_url)]


def _json_safe(value: str) -> str:
    if not value or any(c in '"\\' or ord(c) < ord(" ") for c in value):
        msg = "a userData key is not empty and holds no quotes, backslashes or control characters"
        raise ValueError(msg)
    return value


UserDataKey = Annotated[str, AfterValidator(_json_safe)]


class ServerSettings(Section):
    """Where the Web Services are and how to talk to them."""

    url: Url
    notifications: str = "/api/v2/notifications"
    topic: str = "/v2/me/chats"
    login: Literal["basic", "none"] = "basic"
    transport: Literal["long-polling", "websocket"] = "long-polling"
    ack: bool = True
    verify: bool = True
    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    start_contact_center_session: bool = False
    connect_timeout_s: float = Field(10.0, gt=0)
    request_timeout_s: float = Field(30.0, gt=0)
    poll_margin_s: float = Field(10.0, gt=0)
    max_response_bytes: int = Field(64 * 2**20, ge=2**16)
    keepalive_s: float = Field(600.0, gt=0)


class AccountSettings(Section):
    """One agent, or one supervisor, whose chats are listened to."""

    username: str = Field(min_length=1)
    password: SecretStr | None = None
    password_file: Path | None = None

    def secret(self, base: Path) -> str:
        """The password; a relative `password_file` is beside the configuration. Raises OSError when it cannot be read."""
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            return ""
        return (base / self.password_file).read_text(encoding="utf-8").rstrip("\r\n")


class DispositionSettings(Section):
    """What is taken from a notification."""

    keys: tuple[UserDataKey, ...] = Field(("DispositionCode",), min_length=1)
    user_data: tuple[UserDataKey, ...] = ()
    participants: Literal["agents", "all", "none"] = "agents"
    type_prefix: str = Field("disposition-listener", pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")


class JournalSettings(Section):
    """The durable store."""

    path: Path = Path("journal.db")
    retention_days: float = Field(30.0, gt=0)


class LaneSettings(BaseModel):
    """What every sink has, whatever its kind; the kind's own settings are the remaining keys."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    events: Literal["all", "changes"] = "all"
    gaps: bool = True
    batch: int = Field(500, ge=1, le=10_000)
    retry_limit_s: float = Field(60.0, gt=0)

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the kind."""
        return dict(self.model_extra or {})


class HttpSettings(Section):
    """Health, metrics and status; off without this section."""

    listen: str = Field("127.0.0.1:9464", pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class LogSettings(Section):
    """What is logged, and how. `auto` is readable on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class Settings(BaseSettings):
    """The whole configuration. `base` is the folder that relative paths start from."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=ENV_PREFIX, env_nested_delimiter="__")

    server: ServerSettings
    accounts: tuple[AccountSettings, ...] = ()
    disposition: DispositionSettings = DispositionSettings()
    journal: JournalSettings = JournalSettings()
    sinks: dict[str, LaneSettings] = Field(min_length=1)
    http: HttpSettings | None = None
    log: LogSettings = LogSettings()
    shutdown_timeout_s: float = Field(10.0, ge=0)
    disconnect_on_stop: bool = False
    base: Path = Field(Path(), exclude=True)

    @model_validator(mode="after")
    def _accounts_fit_login(self) -> Self:
        names = [account.username for account in self.accounts]
        if self.server.login == "basic" and not names:
            msg = 'accounts: at least one [[accounts]] table is needed with server.login = "basic"'
            raise ValueError(msg)
        if len(set(names)) != len(names):
            msg = "accounts: every username may stand only once"
            raise ValueError(msg)
        return self

    def listening_accounts(self) -> tuple[AccountSettings, ...]:
        """The accounts; with `login = "none"` and none configured, one nameless listener."""
        return self.accounts or (AccountSettings(username="listener"),)

    def path(self, value: Path) -> Path:
        """A configured path, made absolute from the configuration's folder."""
        return self.base / value
