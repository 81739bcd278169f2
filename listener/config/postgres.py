"""The keys of a table that leads to a PostgreSQL server."""

import re
from typing import Annotated, Any, Self

from pydantic import model_validator
from yarl import URL

from listener.config.login import LoginSettings, Unencrypted, url_beside_login
from listener.config.tls import TlsSettings

_PORT = 5432
_URL = "should be postgresql://HOST:PORT/DATABASE, or postgresql:///DATABASE?host=/FOLDER for a socket in a folder"


def _leads_to_a_database(url: URL) -> bool:
    if url.scheme not in {"postgresql", "postgres"} or re.fullmatch(r"/[^/]+", url.path) is None or url.fragment:
        return False
    if url.host:
        return not url.query_string
    return re.fullmatch(r"host=/[^&]*", url.query_string) is not None


PostgresUrl = Annotated[str, url_beside_login(_leads_to_a_database, _URL)]


class PostgresServer(TlsSettings, LoginSettings):
    """Where the server is, and how to log in. Where `username` is not given, it is that of the process."""

    url: PostgresUrl | None = None
    tls: bool = True

    @model_validator(mode="after")
    def _tls_is_asked_for(self) -> Self:
        if self.url is not None and not self.encrypted:
            self.refuse_tls_keys("needs a host in url and tls = true")
        return self

    @property
    def encrypted(self) -> bool:
        """Whether the connection is: one over a socket of the host never is."""
        return self.tls and bool(URL(self.url or "").host)

    @property
    def reveals_login(self) -> bool:
        """Whatever the server asks for today: who takes its place asks for the password itself."""
        return self.password is not None or self.password_file is not None

    @property
    def unencrypted(self) -> Unencrypted | None:
        """The server, unless there is TLS; not over a socket of the host."""
        host = URL(self.url or "").host
        return Unencrypted("tls", (host,), "tls = true") if host and not self.tls else None

    @property
    def address(self) -> dict[str, Any]:
        """`host` (a name, an address or the folder of a socket), `port` and `database`; there has to be a `url`."""
        url = URL(self.url or "")
        return {"host": url.host or url.query["host"], "port": url.port or _PORT, "database": url.path[1:]}
