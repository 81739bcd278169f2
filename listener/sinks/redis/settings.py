"""The keys of a sink of type `redis`, and where they lead."""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from listener.config.login import LoginSettings, Unencrypted, url_beside_login
from listener.config.tls import TlsSettings

_PORT = 6379
_URL = "should be redis://HOST:PORT/DB, rediss://HOST:PORT/DB for TLS, or unix:///PATH?db=DB"


def _is_network(url: URL) -> bool:
    a_database = re.fullmatch(r"/?|/[0-9]+", url.path) is not None
    return url.scheme in {"redis", "rediss"} and bool(url.host) and a_database and not url.query_string


def _is_socket(url: URL) -> bool:
    a_database = re.fullmatch(r"|db=[0-9]+", url.query_string) is not None
    return url.scheme == "unix" and not url.host and len(url.path) > 1 and a_database


def _key(value: str) -> str:
    """Any key, as long as a second one can be named that a cluster keeps on the same node."""
    if not value or ("}" in value and not _hash_tag(value)):
        raise ValueError("should be the name of a key; in it, } only ends a hash tag such as {crm}")
    return value


def _hash_tag(key: str) -> str:
    """What alone decides in a cluster where a key is (Redis cluster specification, "Hash tags"); empty without one."""
    found = re.match(r"[^{]*\{([^}]+)\}", key)
    return found[1] if found else ""


class RedisSettings(TlsSettings, LoginSettings):
    """Keys of a sink of type `redis`.

    `maxlen` is the number of entries that the stream keeps, 0 for all; `dedup_window` the number of newest events that
    are known there even when their entries are gone.
    """

    url: Annotated[str, url_beside_login(lambda url: _is_network(url) or _is_socket(url), _URL)]
    stream: Annotated[str, AfterValidator(_key)] = "dispositions"
    maxlen: int = Field(default=1_000_000, ge=0)
    maxlen_exact: bool = False
    dedup_window: int = Field(default=10_000, ge=0)
    wait_replicas: int = Field(default=0, ge=0)
    wait_fsync: bool = True
    timeout_s: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _tls_is_asked_for(self) -> Self:
        if not self.tls:
            self.refuse_tls_keys("a url with rediss:// asks for")
        return self

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("rediss:")

    @property
    def unencrypted(self) -> Unencrypted | None:
        """The server, unless there is TLS; not over a socket of the host."""
        url = URL(self.url)
        return Unencrypted("url", (url.host,), "rediss://") if url.host and not self.tls else None

    @property
    def address(self) -> dict[str, Any]:
        """`host` and `port`, or `path`, and `db`, as the client library names them."""
        url = URL(self.url)
        if url.scheme == "unix":
            return {"path": url.path, "db": int(url.query.get("db", 0))}
        return {"host": url.host, "port": url.port or _PORT, "db": int(url.path.strip("/") or 0)}

    @property
    def marks(self) -> str:
        """The key beside the stream that holds the marks of its newest events; a cluster has both on one node."""
        return f"{self.stream}:ids" if _hash_tag(self.stream) else f"{{{self.stream}}}:ids"
