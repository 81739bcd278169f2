"""The `amqp` sink: persistent messages over AMQP 0-9-1 to RabbitMQ, each confirmed by the broker."""

from listener.ports import Sink
from listener.sinks.amqp.settings import AmqpSettings
from listener.sinks.registry import SinkContext, SinkKind

__all__ = ["KIND"]


def _build(context: SinkContext, settings: AmqpSettings) -> Sink:
    from listener.sinks.amqp.sink import AmqpSink

    return AmqpSink(context=context, settings=settings)


KIND = SinkKind(name="amqp", settings=AmqpSettings, build=_build, extra="amqp")
