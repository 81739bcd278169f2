"""Keys of a sink of type `amqp`: the broker, where in it the events go, and how they are written."""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from listener.config.login import LoginSettings, Unencrypted
from listener.config.schema import url_that
from listener.config.tls import TlsSettings
from listener.model.forms import problem_of

_PORTS = {"amqp": 5672, "amqps": 5671}
_QUEUE = "dispositions"
_URL = "should be amqps://HOST[:PORT][/VHOST] or amqp://…, with a / in VHOST written as %2F"
_SHORT_STRING = 255  # bytes (AMQP 0-9-1, 4.2.5.3)


def _leads_to_a_broker(url: URL) -> bool:
    usable = url.scheme in _PORTS and bool(url.host) and not url.query_string and not url.fragment
    return usable and "/" not in url.raw_path[1:] and (url.explicit_port is None or url.explicit_port > 0)


def _name(value: str) -> str:
    if len(value.encode()) > _SHORT_STRING:
        raise ValueError(f"should have at most {_SHORT_STRING} bytes")
    return value


def _template(value: str) -> str:
    if problem := problem_of(value, "text/plain"):
        raise ValueError(problem)
    return value


Name = Annotated[str, AfterValidator(_name)]


class Broker(NamedTuple):
    """What an AMQP URL says."""

    host: str
    port: int
    virtual_host: str
    tls: bool


class AmqpSettings(LoginSettings, TlsSettings):
    """Keys of a sink of type `amqp`.

    `exchange` is the default exchange unless it is named; `routing_key` is a template, by default the queue's name on
    the default exchange and `$type` on another. `queue` is "dispositions" where neither is given. `declare` makes what
    is missing: a durable topic exchange, the durable queue of `queue_type`, and a binding for every key.
    """

    url: Annotated[str, url_that(_leads_to_a_broker, _URL)]
    exchange: Name = ""
    routing_key: Annotated[str, AfterValidator(_template)] | None = None
    queue: Name | None = Field(default=None, min_length=1)
    declare: bool = False
    queue_type: Literal["quorum", "classic"] = "quorum"
    mode: Literal["structured", "binary"] = "structured"
    timeout_s: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.declare and self.target is None:
            raise ValueError("declare needs queue together with exchange or routing_key")
        given = [key for key in TlsSettings.model_fields if key in self.model_fields_set]
        if given and not self.broker.tls:
            raise ValueError(f"{given[0]} needs a url that starts with amqps://")
        return self

    @property
    def broker(self) -> Broker:
        """Where the broker is."""
        url = URL(self.url)
        port = url.explicit_port or _PORTS[url.scheme]
        return Broker(str(url.host), port, url.path.removeprefix("/") or "/", url.scheme == "amqps")

    @property
    def unencrypted(self) -> Unencrypted | None:
        """The broker, unless there is TLS."""
        return None if self.broker.tls else Unencrypted("url", (self.broker.host,), "amqps://")

    @property
    def target(self) -> str | None:
        """The queue that gets the events, as far as the settings tell."""
        unnamed = self.exchange == "" and self.routing_key is None
        return self.queue or (_QUEUE if unnamed else None)

    @property
    def key_template(self) -> str:
        """The template of the routing keys."""
        if self.routing_key is not None:
            return self.routing_key
        return "$type" if self.exchange or self.target is None else self.target.replace("$", "$$")
