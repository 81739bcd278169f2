"""The `kafka` sink: CloudEvents in a topic, every chat in one partition, from an idempotent producer."""

from listener.ports import Sink
from listener.sinks.kafka.settings import KafkaSettings
from listener.sinks.registry import SinkContext, SinkKind

__all__ = ["KIND"]


def _build(context: SinkContext, settings: KafkaSettings) -> Sink:
    from listener.sinks.kafka.sink import KafkaSink

    return KafkaSink(context=context, settings=settings)


KIND = SinkKind(name="kafka", settings=KafkaSettings, build=_build, extra="kafka")
