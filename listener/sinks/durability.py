"""Reports, when a sink opens, how durable an event is that its destination has acknowledged."""

from typing import Any

import structlog

from listener.sinks.registry import SinkContext

_log = structlog.get_logger("listener.sinks")


def report_durability(context: SinkContext, *, destination: str, risks: tuple[str, ...] = (), **facts: Any) -> None:
    """One line on what the other side does with an event before it acknowledges it.

    Args:
        context: the sink's surroundings.
        destination: what was asked, without credentials: `broker 127.0.0.1:9092, topic dispositions`.
        risks: how an acknowledged event could still be lost there, one sentence each; with any the line is a warning.
        facts: what it said of itself, such as `min_insync_replicas=2`.
    """
    log = _log.bind(sink=context.name, destination=destination, **facts)
    if risks:
        log.warning("sink_durability_weak", risks=list(risks), effect="an event acknowledged there can still be lost")
    else:
        log.info("sink_durability")
