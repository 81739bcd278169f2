"""The facts that a CometD session reports, in the order in which they happened."""

from enum import StrEnum
from typing import Protocol

import msgspec

from listener.cometd.protocol import Resume
from listener.runtime.clock import Moment

__all__ = [
    "Batch",
    "Cause",
    "Confirm",
    "Fact",
    "Polled",
    "PollingEnded",
    "RestoredBy",
    "Resume",
    "SessionProblem",
    "Subscribed",
    "TopicsAnswered",
]


class Cause(StrEnum):
    """Why a subscription was lost."""

    RESTART = "restart"
    SESSION_EXPIRED = "session_expired"
    NETWORK = "network"
    LOGIN = "login"
    NO_ACK_CUT = "no_ack_cut"
    SUBSCRIPTION_LOST = "subscription_lost"
    TOPIC_REFUSED = "topic_refused"


class RestoredBy(StrEnum):
    """How a subscription was restored: a new session, one of an earlier process, or the same session again."""

    HANDSHAKE = "handshake"
    RESUME = "resume"
    POLL = "poll"


class Confirm(Protocol):
    """Says that a batch is durable, and whether it held anything of use: a server that sends none is asked less."""

    def __call__(self, *, useful: bool = True) -> None:
        """The batch is durable."""


class Batch(msgspec.Struct, kw_only=True):
    """Events of one response, read at `at`.

    The session does not acknowledge it until `confirm` is called; with acknowledgements it takes no other before.
    `resume` is what continues the session once this batch is durable; store both in one transaction. `number` counts
    batches within the session, the same for a batch that is sent again where the server numbers them. `refused` counts
    elements that were no messages, `repeated` events that were durable before. `more` tells that the next batch is of
    the same response: a large one comes in parts.

    `subscribed` is the last moment at which the subscription certainly existed: when the last granted connect was
    sent. A server may forget a session while it holds a connect, and grant the answer nevertheless. None means
    `at`.
    """

    payloads: list[msgspec.Raw]
    refused: dict[str, int]
    repeated: int = 0
    at: Moment
    number: int
    client_id: str
    resume: Resume | None
    confirm: Confirm
    more: bool = False
    subscribed: Moment | None = None


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """The subscription exists (again): a connect was granted, and its answer read at `at`.

    `since` is the last moment at which it certainly existed before, None if there was none in this process. Between
    the two, or until `until` if there is one, events may have been missed because of `cause`; a resumed session with
    acknowledgements missed none.
    """

    at: Moment
    since: Moment | None
    until: Moment | None = None
    restored_by: RestoredBy
    cause: Cause
    ack: bool
    resume: Resume
    subscribed: Moment | None = None


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """A poll was answered without events. `repeated` counts what was durable before; `subscribed` is as in a Batch."""

    at: Moment
    resume: Resume
    repeated: int = 0
    subscribed: Moment | None = None


class SessionProblem(msgspec.Struct, frozen=True, kw_only=True):
    """A step failed; the session keeps trying."""

    reason: str
    text: str
    retry_in_s: float


class TopicsAnswered(msgspec.Struct, frozen=True, kw_only=True):
    """Several topics were subscribed to, asked at `asked_at`, answered at `at`; not all were refused.

    `refused` are those that were, each with what the server said. `is_new` says that a session begins, which
    `Subscribed` will report.
    """

    at: Moment
    asked_at: Moment
    refused: dict[str, str]
    is_new: bool


class PollingEnded(msgspec.Struct, frozen=True, kw_only=True):
    """Polling ended. The server queues events for `resume` from now on; None if that is not certain.

    `subscribed` is as in a Batch; None with a `resume` that stands as an earlier process left it.
    """

    at: Moment
    resume: Resume | None
    subscribed: Moment | None = None


Fact = Batch | Subscribed | Polled | SessionProblem | PollingEnded | TopicsAnswered
