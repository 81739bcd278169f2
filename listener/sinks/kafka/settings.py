"""The keys of a sink of type `kafka`."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from listener.config.login import LoginSettings, Unencrypted
from listener.config.tls import TlsSettings

Mode = Literal["structured", "binary"]
_LARGEST_PORT = 65_535


def _server(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not re.fullmatch(r"[^\s/@:,]+|\[[0-9A-Fa-f:.]+\]", host):
        raise ValueError("should be host:port, such as broker.example.com:9092")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) <= _LARGEST_PORT:
        raise ValueError("should be host:port, with a port from 1 to 65535")
    return value


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("should hold at least one server")
    return value


def _topic(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9._-]{1,249}", value) or value in (".", ".."):
        raise ValueError("should be the name of a topic: letters, digits, dots, _ and -")
    return value


class KafkaSettings(TlsSettings, LoginSettings):
    """Keys of a sink of type `kafka`. `timeout_s` is for connecting, and for each acknowledgement.

    While that lasts the producer repeats what a broker did not answer, in a way that the broker recognizes.
    """

    bootstrap_servers: Annotated[tuple[Annotated[str, AfterValidator(_server)], ...], AfterValidator(_some)]
    topic: Annotated[str, AfterValidator(_topic)] = "dispositions"
    mode: Mode = "structured"
    timeout_s: float = Field(default=30.0, gt=0)
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    tls: bool = False

    @model_validator(mode="after")
    def _tls_where_it_is_described(self) -> Self:
        keys = ("ca_file", "client_cert_file", "client_key_file")
        if not self.tls and any(getattr(self, key) is not None for key in keys):
            raise ValueError("certificates need tls = true")
        return self

    @property
    def reveals_login(self) -> bool:
        """SCRAM keeps the password to itself (RFC 5802, 1)."""
        return self.username is not None and self.sasl_mechanism == "PLAIN"

    @property
    def unencrypted(self) -> Unencrypted | None:
        """The servers, unless there is TLS."""
        hosts = tuple(server.rpartition(":")[0].strip("[]") for server in self.bootstrap_servers)
        return None if self.tls else Unencrypted("bootstrap_servers", hosts, "tls = true")

    @property
    def place(self) -> str:
        """The servers, for log and errors."""
        return ", ".join(self.bootstrap_servers)
