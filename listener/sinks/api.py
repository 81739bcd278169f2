"""The public interface for sink kinds: this module stays as it is, everything behind it may change.

A kind is a `SinkKind`, reached through an entry point of the group `listener.sinks`. Its `build` gets a `SinkContext`
and the settings, a `Section`, and returns a `Sink`. `Sink.deliver` returns when every `Event` is durable at the
destination, or raises `Retry`, `Park` or `Reject`, whose `rejected` holds a `Refusal` an event; `Sink.open` may raise
`StartError`.

The contract suite that every kind passes, `SinkContract`, is in `listener.testing.contract`, because it needs pytest.

For destinations over a network there are `TlsSettings`, `LoginSettings`, `secret_of` and `report_durability`.
"""

from listener.config.login import LoginSettings, secret_of
from listener.config.schema import Section
from listener.config.tls import TlsSettings
from listener.errors import Park, Refusal, Reject, Retry, StartError
from listener.model.event import Event
from listener.ports import Sink
from listener.sinks.durability import report_durability
from listener.sinks.registry import SinkContext, SinkKind

__all__ = [
    "Event",
    "LoginSettings",
    "Park",
    "Refusal",
    "Reject",
    "Retry",
    "Section",
    "Sink",
    "SinkContext",
    "SinkKind",
    "StartError",
    "TlsSettings",
    "report_durability",
    "secret_of",
]
