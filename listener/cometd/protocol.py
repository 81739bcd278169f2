"""The Bayeux session as a state machine without I/O: what to send next, and what an answer means.

No clock, no socket, no randomness: a transport asks `next_request`, sends it, and hands back what came (`receive`) or
that nothing usable did (`fail`). Section numbers are those of the Bayeux 1.0 specification; the ack extension is
described in the CometD reference, "Message Acknowledgement Extension".

    UNCONNECTED --handshake granted--> HANDSHAKEN --subscribed--> SUBSCRIBED --connect answered--> CONNECTED
         ^                                  |                        |  ^                            |
         |                                  |                        |  +------- exchange failed ----+
         +---------- unknown client, advice handshake or none, given up ----------------------------+
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any

import msgspec

from listener.cometd import messages as wire
from listener.cometd.messages import Message

_UNKNOWN_CLIENT = "402"  # CometD
_MAYBE_UNKNOWN_CLIENT = ("401", "403")  # faye; some CometD versions
_REFUSALS_BEFORE_HANDSHAKE = 3
_LONGEST_ADVICE_MS = 86_400_000
_LONGEST_ERROR = 200


class Phase(Enum):
    """Where the session stands."""

    UNCONNECTED = "unconnected"
    HANDSHAKEN = "handshaken"
    SUBSCRIBED = "subscribed"
    CONNECTED = "connected"


class Step(Enum):
    """What a request does."""

    HANDSHAKE = "handshake"
    SUBSCRIBE = "subscribe"
    CONNECT = "connect"
    OTHER = "other"


class Verdict(Enum):
    """What an answer means for the road ahead."""

    GRANTED = "granted"  # the step succeeded
    REFUSED = "refused"  # it did not; the same session may try again
    EXPIRED = "expired"  # the server does not know this session, or wants a handshake
    ENDED = "ended"  # the server ended the session and wants no reconnect
    UNANSWERED = "unanswered"  # no reply to this request was among the messages


_NEXT_STEP = {
    Phase.UNCONNECTED: Step.HANDSHAKE,
    Phase.HANDSHAKEN: Step.SUBSCRIBE,
    Phase.SUBSCRIBED: Step.CONNECT,
    Phase.CONNECTED: Step.CONNECT,
}
_GRANTED_PHASE = {
    Step.HANDSHAKE: Phase.HANDSHAKEN,
    Step.SUBSCRIBE: Phase.SUBSCRIBED,
    Step.CONNECT: Phase.CONNECTED,
}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One payload to send. `hold_ms` is how long the server may keep its answer back."""

    step: Step
    payload: list[dict[str, Any]]
    hold_ms: int = 0

    @property
    def ids(self) -> frozenset[str]:
        """The message ids that a reply may bear."""
        return frozenset(str(message["id"]) for message in self.payload)


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What one payload brought.

    `ack` is the number that acknowledges these events once they are durable; None if there is nothing to
    acknowledge. `repeated` counts events that are durable already, or that will come again.
    """

    verdict: Verdict
    events: list[Message]
    ack: int | None = None
    repeated: int = 0
    error: str | None = None
    multiple_clients: bool = False


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """What continues a session in a later process; `ack` is None without the ack extension."""

    client_id: str
    connection_type: str
    ack: int | None
    max_interval_ms: int | None = None


class Session:
    """One client's session with one server.

    Args:
        topics: channels to be subscribed to after every handshake.
        connection_type: the transport's name, `long-polling` or `websocket`.
        want_ack: ask for the ack extension.
    """

    def __init__(self, *, topics: Iterable[str], connection_type: str, want_ack: bool = True) -> None:
        self.topics = list(topics)
        self.connection_type = connection_type
        self.phase = Phase.UNCONNECTED
        self.client_id: str | None = None
        self.advice: dict[str, Any] = {}
        self.supported_connection_types: list[str] = []
        self.acked: int | None = None
        self._want_ack = want_ack
        self._last_id = 0
        self._refusals = 0
        self._early: list[Message] = []

    @property
    def ack_granted(self) -> bool:
        """Whether the server keeps events until they are acknowledged."""
        return self.acked is not None

    @property
    def interval_ms(self) -> int:
        """Advised pause before the next connect."""
        return max(0, self._advised("interval", 0))

    @property
    def timeout_ms(self) -> int:
        """Advised time for which the server holds a connect; 30,000 until it has said."""
        return max(0, self._advised("timeout", 30_000))

    @property
    def max_interval_ms(self) -> int | None:
        """Time without a connect after which the server forgets the session, where it tells."""
        return max(0, self._advised("maxInterval", 0)) or None

    def _advised(self, name: str, default: int) -> int:
        value = self.advice.get(name)
        if value is None:
            return default
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return default
        return int(max(-_LONGEST_ADVICE_MS, min(value, _LONGEST_ADVICE_MS)))

    def resume(self, saved: Resume) -> None:
        """Continue a session of an earlier process: subscribe again (idempotent), then connect with its number."""
        self.client_id, self.acked = saved.client_id, saved.ack
        self.phase = Phase.HANDSHAKEN
        self.supported_connection_types = [saved.connection_type]
        if saved.max_interval_ms:
            self.advice["maxInterval"] = saved.max_interval_ms

    def snapshot(self, ack: int | None) -> Resume | None:
        """What a later process needs once the events up to `ack` are durable; None without a session."""
        if self.client_id is None:
            return None
        number = None if self.acked is None else max(self.acked, ack if ack is not None else self.acked)
        return Resume(
            client_id=self.client_id,
            connection_type=self.connection_type,
            ack=number,
            max_interval_ms=self.max_interval_ms,
        )

    def confirm(self, ack: int | None) -> None:
        """The events up to `ack` are durable: the next connect may say so."""
        if ack is not None and self.acked is not None:
            self.acked = max(self.acked, ack)

    def next_request(self) -> Request:
        """What has to be sent now to get to, or stay in, CONNECTED."""
        step = _NEXT_STEP[self.phase]
        if step is Step.HANDSHAKE:
            return Request(step=step, payload=[self._handshake()])
        if step is Step.SUBSCRIBE:
            return Request(step=step, payload=self._subscriptions())
        return self._connect(at_once=self.phase is Phase.SUBSCRIBED)

    def subscribe_again(self) -> Request:
        """All topics once more, beside the cycle."""
        return Request(step=Step.OTHER, payload=self._subscriptions())

    def _subscriptions(self) -> list[dict[str, Any]]:
        return [self._message(wire.SUBSCRIBE, subscription=topic) for topic in self.topics]

    def keep_alive(self) -> Request:
        """A connect that is answered at once and acknowledges nothing new: the server must not forget us."""
        return self._connect(at_once=True)

    def request(self, channel: str, **fields: Any) -> Request:
        """A request outside of the cycle: subscribe, unsubscribe, publish, disconnect."""
        return Request(step=Step.OTHER, payload=[self._message(channel, **fields)])

    def _message(self, channel: str, **fields: Any) -> dict[str, Any]:
        self._last_id += 1
        return {"id": str(self._last_id), "channel": channel, "clientId": self.client_id, **fields}

    def _handshake(self) -> dict[str, Any]:
        message = self._message(wire.HANDSHAKE, version="1.0", minimumVersion="1.0")
        del message["clientId"]  # 4.1.1: a handshake request carries none
        message["supportedConnectionTypes"] = [self.connection_type]
        if self._want_ack:
            message["ext"] = {"ack": True}
        return message

    def _connect(self, *, at_once: bool) -> Request:
        self._early = []  # without the reply that they came ahead of they are not acknowledged, and come again
        message = self._message(wire.CONNECT, connectionType=self.connection_type)
        if self.acked is not None:
            message["ext"] = {"ack": self.acked}
        if at_once:
            # The first connect of a session, and the first after a failure, asks for an answer at once (CometD,
            # "advice"): some servers would hold it for the whole timeout.
            message["advice"] = {"timeout": 0}
        return Request(step=Step.CONNECT, payload=[message], hold_ms=0 if at_once else self.timeout_ms)

    def fail(self, request: Request) -> None:
        """No usable answer came: the session may live on, and its next connect asks for an answer at once."""
        if request.step is Step.CONNECT and self.phase is Phase.CONNECTED:
            self.phase = Phase.SUBSCRIBED

    def expire(self) -> None:
        """Give the session up: the next request is a handshake."""
        self.phase, self.client_id, self.acked = Phase.UNCONNECTED, None, None
        self._refusals = 0
        if self._advised("interval", 0) < 0:
            del self.advice["interval"]  # it forbade reconnecting within the session that is over

    def receive(self, request: Request, messages: list[Message]) -> Received:
        """Take one payload that came while `request` was in flight, and move on accordingly."""
        events, replies = _sorted(messages, request.ids)
        for reply in replies:
            if isinstance(reply.advice, dict):
                self.advice.update(reply.advice)  # 5.5: merged; a 402's advice does not say the timeout again
        if self._is_stale(request):
            verdict = Verdict.EXPIRED if replies else Verdict.UNANSWERED
            return Received(verdict=verdict, events=events, error="the session was given up meanwhile")
        verdict, error = self._judge(request, replies)
        # What this payload carried belongs to the session that it came on: look before the session is given up.
        events, ack, repeated = self._events(request, replies, events)
        if verdict is Verdict.GRANTED:
            self._advance(request, replies)
        elif verdict in (Verdict.EXPIRED, Verdict.ENDED):
            self.expire()
        elif verdict is Verdict.REFUSED:
            self.fail(request)
        return Received(
            verdict=verdict,
            events=events,
            ack=ack,
            repeated=repeated,
            error=error,
            multiple_clients=any(r.advice.get("multiple-clients") for r in replies if isinstance(r.advice, dict)),
        )

    def _is_stale(self, request: Request) -> bool:
        """Whether the session that this was sent on is no longer ours: an answer beside it said so."""
        return request.step is not Step.HANDSHAKE and request.payload[0]["clientId"] != self.client_id

    def _events(
        self, request: Request, replies: list[Message], events: list[Message]
    ) -> tuple[list[Message], int | None, int]:
        """The events to take, the number that acknowledges them, and how many are left to come again."""
        if self.acked is None or request.step is not Step.CONNECT:
            return events, None, 0
        events = self._early + events
        if not replies:
            self._early = events  # over a websocket they come in frames of their own, ahead of their number
            return [], None, 0
        self._early = []
        ext = replies[0].ext
        number = _batch_number(ext.get("ack") if isinstance(ext, dict) else None)
        if number is None:
            return events, None, 0
        if events and number <= self.acked:  # every connect reply has a new number: this batch was here before
            return [], None, len(events)
        return events, number, 0

    def _judge(self, request: Request, replies: list[Message]) -> tuple[Verdict, str | None]:
        """The verdict on the whole payload: the worst of its replies."""
        if len(replies) < len(request.payload):
            return Verdict.UNANSWERED, None
        verdicts = [self._judge_one(request.step, reply) for reply in replies]
        for worst in (Verdict.ENDED, Verdict.EXPIRED, Verdict.REFUSED):
            if worst in verdicts:
                return worst, _error_text(replies[verdicts.index(worst)])
        return Verdict.GRANTED, None

    def _judge_one(self, step: Step, reply: Message) -> Verdict:
        if step is Step.HANDSHAKE:
            granted = reply.successful is True and isinstance(reply.client_id, str) and reply.client_id
            return Verdict.GRANTED if granted else Verdict.REFUSED
        advised = reply.advice.get("reconnect") if isinstance(reply.advice, dict) else None
        if advised == "none" or (step is Step.CONNECT and self._advised("interval", 0) < 0):
            return Verdict.ENDED
        refused = reply.successful is False
        if advised == "handshake" or (refused and self._names_unknown_client(step, reply)):
            return Verdict.EXPIRED
        if not refused:
            return Verdict.GRANTED
        if step is not Step.OTHER:  # what is refused beside the cycle says nothing of the session
            self._refusals += 1
        return Verdict.EXPIRED if self._refusals >= _REFUSALS_BEFORE_HANDSHAKE else Verdict.REFUSED

    @staticmethod
    def _names_unknown_client(step: Step, reply: Message) -> bool:
        """402 on a subscribe comes without advice; a 403 there may as well mean that the topic is not allowed."""
        text = _error_text(reply)
        code = text.split(":", 1)[0]
        if code in _MAYBE_UNKNOWN_CLIENT:
            return step is Step.CONNECT or "nknown client" in text
        return code == _UNKNOWN_CLIENT

    def _advance(self, request: Request, replies: list[Message]) -> None:
        self._refusals = 0
        if request.step is Step.HANDSHAKE:
            self._begin(replies[0])
        self.phase = _GRANTED_PHASE.get(request.step, self.phase)

    def _begin(self, reply: Message) -> None:
        """A handshake was granted: a new session, nothing of the old one holds."""
        self.client_id = reply.client_id
        types = reply.supported_connection_types
        self.supported_connection_types = [t for t in types if isinstance(t, str)] if isinstance(types, list) else []
        ack = reply.ext.get("ack") if isinstance(reply.ext, dict) else None
        if isinstance(ack, dict) and ack.get("enabled") is True:
            batch = _batch_number(ack.get("batch"))
            self.acked = -1 if batch is None else batch
        else:
            self.acked = -1 if ack is True else None


def _sorted(messages: list[Message], ids: frozenset[str]) -> tuple[list[Message], list[Message]]:
    """The events among the messages, and the replies to the request with these ids."""
    events: list[Message] = []
    replies: list[Message] = []
    for message in messages:
        if message.is_event:
            events.append(message)
        elif str(message.id) in ids:
            replies.append(message)
    return events, replies


def _batch_number(value: object) -> int | None:
    """What numbers a batch, else None: CometD's numbers are Java longs, and as such they are stored."""
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    return None


def _error_text(reply: Message) -> str:
    """The `error` field (8.1), one line of it, or words of our own where there is none."""
    text = " ".join(reply.error.split())[:_LONGEST_ERROR] if isinstance(reply.error, str) else ""
    return text or f"{reply.channel} was not successful"
