"""The `[journal]` table: a file of this host, or a database that replicas share."""

import re
import socket
import warnings
from pathlib import Path
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from listener.config.postgres import PostgresServer
from listener.config.schema import OutputFile


def _name_of_a_replica(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", value):
        raise ValueError("should be a name of at most 63 letters, digits, dots, - and _")
    return value


ReplicaName = Annotated[str, AfterValidator(_name_of_a_replica)]


def _schema(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value) or value.startswith("pg_"):
        raise ValueError("should be at most 63 small letters, digits and _, and not begin with a digit or pg_")
    return value


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message='Field name "schema"')  # pydantic had a method of that name once

    class JournalSettings(PostgresServer):
        """The durable store: a file of this host's own, or with `url` a database that replicas share."""

        path: OutputFile = Path("journal.db")
        retention_days: float = Field(default=30.0, gt=0)
        max_bytes: int | None = Field(default=None, ge=2**20)
        schema: Annotated[str, AfterValidator(_schema)] = "disposition_listener"  # type: ignore[assignment]
        pooler: bool = False
        lease_s: float = Field(default=1.0, ge=0.5, le=60.0)
        replica: ReplicaName | None = None

        @property
        def replica_name(self) -> str:
            """How this process is called among those that share the journal."""
            return self.replica or socket.gethostname()

        def is_here(self, on: str | None) -> bool:
            """Whether this process may have a sink of which `on` says who alone may; None for any."""
            return on in {None, self.replica_name}

        @model_validator(mode="after")
        def _one_place(self) -> Self:
            of_a_database = sorted(self.model_fields_set - {"path", "retention_days", "max_bytes", "url"})
            if self.url is None and of_a_database:
                raise ValueError(f"{of_a_database[0]} needs url beside it")
            if self.url is not None and "path" in self.model_fields_set:
                raise ValueError("give either path, for a file here, or url, for a database that replicas share")
            return self


class JournalTable(NamedTuple):
    """The surroundings of the table; see `listener.config.login`."""

    base: Path

    def setting(self, key: str) -> str:
        """The dotted path of one of its keys."""
        return f"journal.{key}"
