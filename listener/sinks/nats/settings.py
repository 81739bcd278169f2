"""The keys of a sink of type `nats`."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator
from yarl import URL

from listener.config.login import LoginSettings, Unencrypted
from listener.config.schema import InputFile, SecretFile, url_that
from listener.config.tls import TlsSettings

_PORT = 4222
_ADDRESS = "should be an address such as nats://host:4222, or tls://host:4222 to require TLS"


def _leads_to_a_server(url: URL) -> bool:
    return url.scheme in {"nats", "tls"} and bool(url.host) and url.path in {"", "/"} and not url.query_string


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("should hold at least one address")
    return value


def _subject(value: str) -> str:
    if not re.fullmatch(r"[^\s.*>$][^\s.*>]*(\.[^\s.*>]+)*", value):
        raise ValueError("should be a subject without wildcards, such as dispositions.chat")
    return value


def _stream_name(value: str) -> str:
    if not re.fullmatch(r"[^\s.*>/\\]+", value):
        raise ValueError("should be the name of a stream, which has no spaces, dots, slashes, * and >")
    return value


class NatsSettings(TlsSettings, LoginSettings):
    """Keys of a sink of type `nats`. `timeout_s` is for connecting, and for the answers to what is sent at once."""

    servers: Annotated[tuple[Annotated[str, url_that(_leads_to_a_server, _ADDRESS)], ...], AfterValidator(_some)]
    stream: Annotated[str, AfterValidator(_stream_name)] = "DISPOSITIONS"
    subject: Annotated[str, AfterValidator(_subject)] = "dispositions"
    create_stream: bool = False
    timeout_s: float = Field(default=10.0, gt=0)
    token: SecretStr | None = None
    token_file: SecretFile | None = None
    nkey_file: InputFile | None = None
    credentials_file: InputFile | None = None

    @model_validator(mode="after")
    def _one_login_and_one_scheme(self) -> Self:
        logins = ("username", "token", "token_file", "nkey_file", "credentials_file")
        given = [key for key in logins if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}")
        if len({URL(server).scheme for server in self.servers}) > 1:
            raise ValueError("the servers should all begin with nats://, or all with tls://")
        return self

    @property
    def tls_only(self) -> bool:
        """Whether nothing may be sent without TLS; otherwise the server decides."""
        return URL(self.servers[0]).scheme == "tls"

    @property
    def reveals_login(self) -> bool:
        """The other logins sign what the server has made up (nonce), and keep their key."""
        return any(one is not None for one in (self.username, self.token, self.token_file))

    @property
    def unencrypted(self) -> Unencrypted | None:
        """The servers, unless nothing may be sent without TLS."""
        hosts = tuple(URL(server).host or "" for server in self.servers)
        return None if self.tls_only else Unencrypted("servers", hosts, "tls://")

    @property
    def place(self) -> str:
        """Host and port of each server, for log and errors."""
        return ", ".join(f"{URL(server).host}:{URL(server).port or _PORT}" for server in self.servers)
