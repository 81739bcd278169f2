"""The `redis` sink: entries of a stream, each event once by its id, whole batches in one round trip."""

from listener.ports import Sink
from listener.sinks.redis.settings import RedisSettings
from listener.sinks.registry import SinkContext, SinkKind

__all__ = ["KIND"]


def _build(context: SinkContext, settings: RedisSettings) -> Sink:
    from listener.sinks.redis.sink import RedisSink

    return RedisSink(context=context, settings=settings)


KIND = SinkKind(name="redis", settings=RedisSettings, build=_build, extra="redis")
