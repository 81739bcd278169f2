"""The keys of a sink of type `postgres`, and where they lead."""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from listener.sinks.secrets import LoginSettings, url_beside_login
from listener.sinks.tls import TlsSettings

_PORT = 5432
_NAME_BYTES = 63  # PostgreSQL cuts longer names without a word (NAMEDATALEN)
_URL = "should be postgresql://HOST:PORT/DATABASE, or postgresql:///DATABASE?host=/FOLDER for a socket in a folder"


def _leads_to_a_database(url: URL) -> bool:
    if url.scheme not in {"postgresql", "postgres"} or re.fullmatch(r"/[^/]+", url.path) is None or url.fragment:
        return False
    if url.host:
        return not url.query_string
    return re.fullmatch(r"host=/[^&]*", url.query_string) is not None


def _table(value: str) -> str:
    parts = value.split(".")
    if len(parts) not in {1, 2} or not all(0 < len(part.encode()) <= _NAME_BYTES for part in parts) or "\0" in value:
        raise ValueError(f"should be TABLE or SCHEMA.TABLE, as they are written, each of at most {_NAME_BYTES} bytes")
    return value


class PostgresSettings(TlsSettings, LoginSettings):
    """Keys of a sink of type `postgres`. Where `username` is not given, it is that of the process."""

    url: Annotated[str, url_beside_login(_leads_to_a_database, _URL)]
    table: Annotated[str, AfterValidator(_table)] = "dispositions"
    create_table: bool = False
    tls: bool = True
    timeout_s: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _tls_is_asked_for(self) -> Self:
        if not self.encrypted:
            self.refuse_tls_keys("needs a host in url and tls = true")
        return self

    @property
    def encrypted(self) -> bool:
        """Whether the connection is: one over a socket of the host never is."""
        return self.tls and bool(URL(self.url).host)

    @property
    def address(self) -> dict[str, Any]:
        """`host` (a name, an address or the folder of a socket), `port` and `database`."""
        url = URL(self.url)
        return {"host": url.host or url.query["host"], "port": url.port or _PORT, "database": url.path[1:]}

    @property
    def quoted_table(self) -> str:
        """The table's name as it can stand in a statement, whatever is in it."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in self.table.split("."))
