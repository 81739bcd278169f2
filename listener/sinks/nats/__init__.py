"""The `nats` sink: JetStream messages that carry the id of their event, so that a stream keeps each event once."""

from listener.ports import Sink
from listener.sinks.nats.settings import NatsSettings
from listener.sinks.registry import SinkContext, SinkKind

__all__ = ["KIND"]


def _build(context: SinkContext, settings: NatsSettings) -> Sink:
    from listener.sinks.nats.sink import NatsSink

    return NatsSink(context=context, settings=settings)


KIND = SinkKind(name="nats", settings=NatsSettings, build=_build, extra="nats")
