"""The Bayeux session as a state machine without I/O: what to send next, and what an answer means.

No clock, no socket, no randomness: a transport asks `next_request`, sends it, and hands back what came (`receive`) or
that nothing usable did (`fail`). Section numbers are those of the Bayeux 1.0 specification; the ack extension is
described in the CometD reference, "Message Acknowledgement Extension".

    UNCONNECTED --handshake granted--> HANDSHAKEN --subscribed--> SUBSCRIBED --connect answered--> CONNECTED
         ^                                  |                        |  ^                            |
         |                                  |                        |  +------- exchange failed ----+
         +---------- unknown client, advice handshake or none, expired -----------------------------+

A session of an earlier process begins in SUBSCRIBED: its first connect is what keeps it, a subscription follows.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Any

import msgspec

from listener.cometd import messages as wire
from listener.cometd.messages import Message
from listener.cometd.replies import (
    UNAUTHORIZED,
    batch_number,
    error_code,
    is_number,
    names_unknown_client,
    truth,
    understood,
    wrong_with,
)
from listener.cometd.slices import SLICE_BYTES
from listener.cometd.taken import PART_EVENTS, Taken
from listener.errors import ExchangeFailed

_LONGEST_ADVICE_MS = 86_400_000
_DEFAULT_MAX_INTERVAL_MS = 10_000  # CometD's, where the server does not tell its own
_LONGEST_ERROR = 200
_PART_BYTES = SLICE_BYTES // 2
_MOST_TYPES, _LONGEST_TYPE = 16, 40
_NOT_SUBSCRIBED = "not_subscribed"


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
    UNAUTHORIZED = "unauthorized"  # it did not for want of a login; the same session may try again
    EXPIRED = "expired"  # the server does not know this session, or wants a handshake
    ENDED = "ended"  # the server ended the session and wants no reconnect
    UNANSWERED = "unanswered"  # no reply to this request was among the messages


_WORST_FIRST = (Verdict.ENDED, Verdict.EXPIRED, Verdict.UNAUTHORIZED, Verdict.REFUSED)
_SOME_TOPICS = (Verdict.GRANTED, Verdict.UNAUTHORIZED, Verdict.REFUSED)
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

    def is_answered_by(self, reply: Message) -> bool:
        """Whether this is a reply to it: by its id, which a server may leave out; then by what it is about."""
        if reply.id is not None:
            return str(reply.id) in self.ids if len(self.payload) > 1 else str(reply.id) == self.payload[0]["id"]
        return any(
            message["channel"] == reply.channel and reply.subscription in (None, message.get("subscription"))
            for message in self.payload
        )

    def topic_of(self, reply: Message, place: int) -> str:
        """What a reply to a subscription is about; `place` is that among the replies."""
        by_id = (message["subscription"] for message in self.payload if str(reply.id) == message["id"])
        named = reply.subscription if isinstance(reply.subscription, str) else None
        return str(next(by_id, None) or named or self.payload[min(place, len(self.payload) - 1)]["subscription"])


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What one payload brought. Events that come ahead of their number are kept, or if they are many, taken in parts.

    `ack` is the number that acknowledges these events once they are durable; None if there is nothing to
    acknowledge. `repeated` counts events that are durable already, or that will come again, `refused` those that are
    on no channel of ours, by reason.
    """

    verdict: Verdict
    events: list[Message]
    ack: int | None = None
    repeated: int = 0
    refused: dict[str, int] = {}
    error: str | None = None
    multiple_clients: bool = False


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """What continues a session in a later process; `ack` is None without the ack extension.

    `taken` is what came ahead of a number that is not acknowledged yet (`Taken`).
    """

    client_id: str
    connection_type: str
    ack: int | None
    max_interval_ms: int | None = None
    taken: tuple[tuple[int, int, str], ...] = ()


class Session:
    """One client's session with one server.

    Args:
        topics: channels to be subscribed to after every handshake.
        connection_type: the transport's name, `long-polling` or `websocket`.
        want_ack: ask for the ack extension.

    Attributes:
        advice: what the server advises, as `advise` has merged it. What follows from it:
        interval_ms: the pause before the next connect, but so that the connect can be repeated while the session lives.
        advised_interval_ms: that pause as the server has it, which may be beyond all reason.
        timeout_ms: for how long the server holds a connect; 30,000 until it has said.
        max_interval_ms: time without a connect after which the server forgets the session, None until it has told.
        lifetime_s: the same in seconds, or what is usual.
        hold_limit_ms: how long a connect asks to be held at most, None for as long as the server likes.
        refused_topics: those that the last subscription was granted without, each with what the server said. If it
            refuses all, nothing is granted.
    """

    def __init__(self, *, topics: Iterable[str], connection_type: str, want_ack: bool = True) -> None:
        self.topics = list(topics)
        self.connection_type = connection_type
        self.phase = Phase.UNCONNECTED
        self.client_id: str | None = None
        self.advice: dict[str, Any] = {}
        self._obey()
        self.supported_connection_types: list[str] = []
        self.acked: int | None = None
        self.hold_limit_ms: int | None = None
        self.refused_topics: dict[str, str] = {}
        self._want_ack = want_ack
        self._subscribe_again = False
        self._last_id = 0
        self._poll: Request | None = None
        self._early: list[Message] = []
        self._early_bytes = 0
        self._taken = Taken()

    @property
    def lack(self) -> str:
        """Why a session that was granted is of no use; empty if the server has the transport."""
        offered = self.supported_connection_types
        if self.connection_type in offered:
            return ""
        named = ", ".join(map(repr, offered)) or "nothing"
        return f"server.transport: the server does not offer {self.connection_type!r}, only {named}"

    @property
    def ack_granted(self) -> bool:
        """Whether the server keeps events until they are acknowledged."""
        return self.acked is not None

    def advise(self, advice: object) -> None:
        """Merge what the server advises into what it did before (5.5): a 402's does not say the timeout again."""
        self.advice |= understood(advice)
        self._obey()

    def _obey(self) -> None:
        """Work out what follows from the advice, once: each poll asks for it a dozen times."""
        interval_ms = self._advised("interval", 0)
        self._may_reconnect = interval_ms >= 0
        self.advised_interval_ms = max(0, interval_ms)
        self.timeout_ms = max(0, self._advised("timeout", 30_000))
        self.max_interval_ms = max(0, self._advised("maxInterval", 0)) or None
        self.lifetime_s = (self.max_interval_ms or _DEFAULT_MAX_INTERVAL_MS) / 1000
        self.interval_ms = min(self.advised_interval_ms, int(self.lifetime_s * 500))

    def _advised(self, name: str, default: int) -> int:
        value = self.advice.get(name)
        return int(max(-_LONGEST_ADVICE_MS, min(value, _LONGEST_ADVICE_MS))) if is_number(value) else default

    def resume(self, saved: Resume) -> None:
        """Continue a session of an earlier process: connect with its number at once, then subscribe again (idempotent).

        The server keeps the session from that connect on; where thousands go on, a request before it takes too long.
        """
        self.client_id, self.acked = saved.client_id, saved.ack
        self.phase, self._subscribe_again = Phase.SUBSCRIBED, True
        self.supported_connection_types = [saved.connection_type]
        self._taken = Taken(saved.taken)
        if saved.max_interval_ms:
            self.advise({"maxInterval": saved.max_interval_ms})

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
            taken=self._taken.parts if number == self.acked else (),
        )

    def confirm(self, ack: int | None) -> None:
        """The events up to `ack` are durable: the next connect may say so."""
        if ack is not None and self.acked is not None and ack > self.acked:
            self.acked = ack
            self._taken.clear()

    def next_request(self) -> Request:
        """What has to be sent now to get to, or stay in, CONNECTED."""
        step = _NEXT_STEP[self.phase]
        if step is Step.HANDSHAKE:
            return Request(step=step, payload=[self._handshake()])
        if step is Step.SUBSCRIBE:
            return Request(step=step, payload=self._subscriptions())
        self._early, self._early_bytes = [], 0  # what came ahead of no number is not acknowledged, and comes again
        self._taken.begin()
        self._poll = self._connect(at_once=self.phase is Phase.SUBSCRIBED)
        return self._poll

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
        message = self._message(wire.CONNECT, connectionType=self.connection_type)
        if self.acked is not None:
            message["ext"] = {"ack": self.acked}
        if at_once:
            # The first connect of a session, and the first after a failure, asks for an answer at once (CometD,
            # "advice"): some servers would hold it for the whole timeout.
            message["advice"] = {"timeout": 0}
        elif self.hold_limit_ms is not None and self.hold_limit_ms < self.timeout_ms:
            message["advice"] = {"timeout": self.hold_limit_ms}
        return Request(step=Step.CONNECT, payload=[message], hold_ms=0 if at_once else self.timeout_ms)

    def fail(self, request: Request) -> None:
        """No usable answer came: the session may live on, and its next connect asks for an answer at once."""
        if (request.step is Step.CONNECT and self.phase is Phase.CONNECTED) or (
            request.step is Step.SUBSCRIBE and self._subscribe_again
        ):
            self.phase = Phase.SUBSCRIBED

    def may_have_lost(self, request: Request, failure: ExchangeFailed) -> bool:
        """Whether the server may have given an answer, with events in it, that will not come again."""
        return failure.maybe_lost and request.step is not Step.HANDSHAKE and not self.ack_granted

    def expire(self) -> None:
        """Give the session up: the next request is a handshake."""
        self.phase, self.client_id, self.acked = Phase.UNCONNECTED, None, None
        self._subscribe_again = False
        self._taken.clear()
        if not self._may_reconnect:
            del self.advice["interval"]  # it forbade that within the session that is over
            self._obey()

    def receive(self, request: Request, messages: list[Message]) -> Received:
        """Take one payload that came while `request` was in flight, and move on accordingly."""
        events, others, refused = self._sorted(messages)
        replies = [message for message in others if request.is_answered_by(message)]
        multiple_clients = False
        for reply in replies:
            if reply.advice:
                self.advise(reply.advice)
                multiple_clients |= isinstance(reply.advice, dict) and bool(truth(reply.advice.get("multiple-clients")))
        if self._is_stale(request):
            verdict = Verdict.EXPIRED if replies else Verdict.UNANSWERED
            return Received(verdict=verdict, events=events, refused=refused, error="the session was given up meanwhile")
        verdict, error = self._judge(request, replies)
        # What this payload carried belongs to the session that it came on: look before the session is given up.
        events, ack, repeated = self._events(request, replies, events)
        if verdict is Verdict.GRANTED:
            self._advance(request, replies)
        elif verdict in (Verdict.EXPIRED, Verdict.ENDED):
            self.expire()
        elif verdict in (Verdict.REFUSED, Verdict.UNAUTHORIZED):
            self.fail(request)
        return Received(
            verdict=verdict,
            events=events,
            ack=ack,
            repeated=repeated,
            refused=refused,
            error=error,
            multiple_clients=multiple_clients,
        )

    def heard(self, messages: list[Message]) -> tuple[list[Message], dict[str, int]]:
        """The events among the messages, and how many of them are refused, by reason: we subscribed to no such channel.

        Nobody checked whether this agent may hear those, and nobody knows what they are.
        """
        events, _, refused = self._sorted(messages)
        return events, refused

    def _sorted(self, messages: list[Message]) -> tuple[list[Message], list[Message], dict[str, int]]:
        """The events to be heard, all that are no events, and those that are refused as `heard` says."""
        events: list[Message] = []
        others: list[Message] = []
        foreign, topics = 0, self.topics
        for message in messages:
            if message.channel in topics and message.data:  # as nearly all: no frame to spare
                events.append(message)
            elif not message.is_event:
                others.append(message)
            elif self._is_subscribed(message.channel):
                events.append(message)
            else:
                foreign += 1
        return events, others, {_NOT_SUBSCRIBED: foreign} if foreign else {}

    def _is_subscribed(self, channel: str) -> bool:
        """Whether a wildcard among the topics holds the channel: `*` one segment, `**` any number of them."""
        return any(
            channel.startswith(topic[:-2])
            if topic.endswith("/**")
            else topic.endswith("/*") and channel.rpartition("/")[0] == topic[:-2]
            for topic in self.topics
        )

    def _is_stale(self, request: Request) -> bool:
        """Whether the session that this was sent on is no longer ours: an answer beside it said so."""
        return request.step is not Step.HANDSHAKE and request.payload[0]["clientId"] != self.client_id

    def _events(
        self, request: Request, replies: list[Message], events: list[Message]
    ) -> tuple[list[Message], int | None, int]:
        """The events to take, the number that acknowledges them, and how many were taken before or will come again."""
        if self.acked is None or request.step is not Step.CONNECT:
            return events, None, 0
        known = 0
        if request is self._poll:
            events = self._early + events
            if not replies:
                return self._ahead_of_number(events)
            self._early = []
            events, known = self._taken.new(events, last=True)
        elif not replies:
            return [], None, 0  # a keep-alive acknowledges nothing
        ext = replies[0].ext
        number = batch_number(ext.get("ack") if isinstance(ext, dict) else None)
        if number is None:
            return events, None, known
        if events and number <= self.acked:  # every connect reply has a new number: this batch was here before
            return [], None, known + len(events)
        return events, number, known

    def _ahead_of_number(self, events: list[Message]) -> tuple[list[Message], int | None, int]:
        """Keep what is little; take what is much, and note that it is taken."""
        self._early_bytes += sum(memoryview(event.data).nbytes for event in events[len(self._early) :])
        if len(events) < PART_EVENTS and self._early_bytes < _PART_BYTES:
            self._early = events
            return [], None, 0
        self._early, self._early_bytes = [], 0
        events, known = self._taken.new(events, last=False)
        if events:
            self._taken.add(events)
        return events, None, known

    def _judge(self, request: Request, replies: list[Message]) -> tuple[Verdict, str | None]:
        """The verdict on the whole payload: the worst of its replies."""
        if len(replies) < len(request.payload):
            return Verdict.UNANSWERED, None
        verdicts = [self._judge_one(request.step, reply) for reply in replies]
        worst = verdicts[0] if len(verdicts) == 1 else next((v for v in _WORST_FIRST if v in verdicts), Verdict.GRANTED)
        if worst in _SOME_TOPICS and Verdict.GRANTED in verdicts and request.payload[0]["channel"] == wire.SUBSCRIBE:
            self.refused_topics = {
                request.topic_of(reply, at): _error_text(request.step, reply)
                for at, (reply, verdict) in enumerate(zip(replies, verdicts, strict=True))
                if verdict is not Verdict.GRANTED
            }
            return Verdict.GRANTED, None
        return worst, None if worst is Verdict.GRANTED else _error_text(request.step, replies[verdicts.index(worst)])

    def _judge_one(self, step: Step, reply: Message) -> Verdict:
        refusal = Verdict.UNAUTHORIZED if reply.error and error_code(reply) in UNAUTHORIZED else Verdict.REFUSED
        if step is Step.HANDSHAKE:
            granted = truth(reply.successful) and not wrong_with(reply.client_id)
            return Verdict.GRANTED if granted else refusal
        advised = reply.advice.get("reconnect") if isinstance(reply.advice, dict) else None
        if advised == "none" or (step is Step.CONNECT and not self._may_reconnect):
            return Verdict.ENDED
        refused = truth(reply.successful) is False
        if advised == "handshake" or (refused and names_unknown_client(reply)):
            return Verdict.EXPIRED
        return refusal if refused else Verdict.GRANTED

    def _advance(self, request: Request, replies: list[Message]) -> None:
        if request.step is Step.HANDSHAKE:
            self._begin(replies[0])
        if self._subscribe_again and request.step is Step.CONNECT:
            self.phase = Phase.HANDSHAKEN
        elif self._subscribe_again and request.step is Step.SUBSCRIBE:
            self.phase, self._subscribe_again = Phase.CONNECTED, False
        else:
            self.phase = _GRANTED_PHASE.get(request.step, self.phase)

    def _begin(self, reply: Message) -> None:
        """A handshake was granted: a new session, nothing of the old one holds."""
        self.client_id = reply.client_id
        types = reply.supported_connection_types
        named = [name for name in types if isinstance(name, str)] if isinstance(types, list) else []
        self.supported_connection_types = [name[:_LONGEST_TYPE] for name in named[:_MOST_TYPES]]
        ack = reply.ext.get("ack") if isinstance(reply.ext, dict) else None
        if isinstance(ack, dict) and ack.get("enabled") is True:
            batch = batch_number(ack.get("batch"))
            self.acked = -1 if batch is None else batch
        else:
            self.acked = -1 if ack is True else None


def _error_text(step: Step, reply: Message) -> str:
    """The `error` field (8.1), one line of it, or words of our own where there is none."""
    text = " ".join(reply.error.split())[:_LONGEST_ERROR] if isinstance(reply.error, str) else ""
    if not text and truth(reply.successful):
        return wrong_with(reply.client_id) if step is Step.HANDSHAKE else "the server ended the session"
    return text or f"{reply.channel} was not successful"
