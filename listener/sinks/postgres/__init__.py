"""The `postgres` sink: rows of a table, each event once by its primary key, a transaction for each batch."""

from listener.ports import Sink
from listener.sinks.postgres.settings import PostgresSettings
from listener.sinks.registry import SinkContext, SinkKind

__all__ = ["KIND"]


def _build(context: SinkContext, settings: PostgresSettings) -> Sink:
    from listener.sinks.postgres.sink import PostgresSink

    return PostgresSink(context=context, settings=settings)


KIND = SinkKind(name="postgres", settings=PostgresSettings, build=_build, extra="postgres")
