"""The keys of a sink of type `postgres`, and where they lead."""

from typing import Annotated

from pydantic import AfterValidator, Field

from listener.config.postgres import PostgresServer, PostgresUrl

_NAME_BYTES = 63  # PostgreSQL cuts longer names without a word (NAMEDATALEN)


def _table(value: str) -> str:
    parts = value.split(".")
    if len(parts) not in {1, 2} or not all(0 < len(part.encode()) <= _NAME_BYTES for part in parts) or "\0" in value:
        raise ValueError(f"should be TABLE or SCHEMA.TABLE, as they are written, each of at most {_NAME_BYTES} bytes")
    return value


class PostgresSettings(PostgresServer):
    """Keys of a sink of type `postgres`."""

    url: PostgresUrl
    table: Annotated[str, AfterValidator(_table)] = "dispositions"
    create_table: bool = False
    timeout_s: float = Field(default=10.0, gt=0)

    @property
    def quoted_table(self) -> str:
        """The table's name as it can stand in a statement, whatever is in it."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in self.table.split("."))
