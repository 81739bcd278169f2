"""Where the database is, and how to log in."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass

SCHEMA = "disposition_listener"
PORT = 5432


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresOptions:
    """What `PostgresDatabase` has to know.

    Attributes:
        host: a name, an address, or the folder of a socket.
        username: that of the process where it is None.
        password: asked for each connection, in a thread; raises OSError or ValueError.
        tls: the context, asked likewise; None for a connection without. Raises OSError, ValueError or StartError.
        schema: has all that is stored, and nothing else.
        pooler: whether a pooler in transaction mode is in between.
        timeout_s: how long a call may take.
        makes_schema: whether the schema is made, or brought up to date, if it is not as it should be.
    """

    host: str
    database: str
    port: int = PORT
    username: str | None = None
    password: Callable[[], str] = str
    tls: Callable[[], ssl.SSLContext | None] = lambda: None
    schema: str = SCHEMA
    pooler: bool = False
    timeout_s: float = 10.0
    makes_schema: bool = True

    @property
    def place(self) -> str:
        """For texts: server, database and schema, no secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{host}:{self.port}/{self.database}, schema {self.schema}"

    @property
    def quoted_schema(self) -> str:
        """The schema as it can stand in a statement, whatever is in its name."""
        return '"' + self.schema.replace('"', '""') + '"'
