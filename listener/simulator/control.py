"""The control endpoint: faults and events on order, for peers on the loopback interface only.

Everything is `POST /control/NAME` with a JSON object (or nothing, where every member has a default), except for
`GET /control/state`. Unknown members are refused. A fault's `target` is any, notifications or rest.

    drop              count, only (any|messages), target     the server acts, the socket is reset instead of the answer
    cut               after_bytes, count, only, target       the body ends early, then the socket is closed
    fail              status, body, content_type, headers, count, target     answered before the server sees the request
    garbage           kind, count, target                    the server acts, the answer's body is something else
    delay             ms, target                             every answer comes later, until set to 0
    expire            agent                                  CometD sessions are forgotten, as by a sweep
    forget-subscriptions  agent                              sessions live on and hear nothing, silently
    refuse-topic      topic, refused                         it cannot be subscribed to; sessions that have it keep it
    expire-http       -                                      HTTP sessions are forgotten: log in again
    invalidate-logins seconds                                the same, and nobody can log in for so long
    deny-handshake    count                                  the next handshakes are refused; 0 ends it
    advice            kind, interval_ms, successful, agent, count     advice of the next connect replies, held ones now
    duplicate         count                                  the next batches come twice
    set-csrf          enabled, header                        every token becomes invalid; switches protection
    publish           agent, channel, data | raw, count      a message as given; {n} in it becomes 1, 2, …
    add-chat          chat, agents, state, medium            a chat (an email, a voice call) that agents may share
    add-agent         -                                      one more agent, who can log in
    refuse-monitor    agent, status, status_code, count      the supervisors' next Monitor of the agent is refused
    end-monitoring    supervisor, agent                      monitoring ends, silently
    clear             -                                      disarm every fault
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from listener.errors import WebServicesError
from listener.simulator.bayeux import Bayeux, CometdSession, Wake
from listener.simulator.faults import Advice, Cut, Drop, Fail, Fault, Faults, Garbage, Target
from listener.simulator.logins import Logins
from listener.simulator.media import CHAT, MEDIA, ChatState
from listener.simulator.state import ContactCenter
from listener.simulator.supervision import Refusal, Supervision
from listener.simulator.wire import Call, Reply, json_reply

PREFIX = "/control/"


class _Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The members of a request; unknown ones are refused."""


class Nothing(_Order, frozen=True):
    """An order without members."""


class Count(_Order, frozen=True):
    """How often."""

    count: int = 1


class Delay(_Order, frozen=True):
    """Milliseconds by which answers are late."""

    ms: int
    target: Target = "any"


class Expire(_Order, frozen=True):
    """Whose CometD sessions; None is everybody's."""

    agent: str | None = None


class InvalidateLogins(_Order, frozen=True):
    """Seconds without logins."""

    seconds: float


class SetCsrf(_Order, frozen=True):
    """CSRF protection; None leaves as it is."""

    enabled: bool | None = None
    header: str | None = None


class RefuseTopic(_Order, frozen=True):
    """Whether a topic is refused from now on."""

    topic: str
    refused: bool = True


class PublishOrder(_Order, frozen=True):
    """A message for one agent, or `all`. `raw` is the text of the data, sent as it is, valid JSON or not."""

    agent: str = "all"
    channel: str = CHAT.topic
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    raw: str | None = None
    count: int = 1


class AddChat(_Order, frozen=True):
    """A chat of these agents."""

    chat: str
    agents: list[str]
    state: ChatState = ChatState.CHATTING
    medium: Literal["chat", "email", "voice"] = "chat"


class RefuseMonitor(_Order, frozen=True):
    """Monitor of this agent is refused so often."""

    agent: str
    status: int = 403
    status_code: int = 5
    count: int = 1


class EndMonitoring(_Order, frozen=True):
    """Whose monitoring of whom; None is everybody's."""

    supervisor: str | None = None
    agent: str | None = None


Raised = (msgspec.MsgspecError, UnicodeDecodeError, WebServicesError)


class Control:
    """Carries out orders. `execute` is the same for callers in the process."""

    def __init__(
        self, *, center: ContactCenter, logins: Logins, bayeux: Bayeux, faults: Faults, supervision: Supervision
    ) -> None:
        self._supervision = supervision
        self._center = center
        self._logins = logins
        self._bayeux = bayeux
        self._faults = faults
        self._orders: dict[str, tuple[type[msgspec.Struct], Callable[[Any], Mapping[str, Any]]]] = {
            "drop": (Drop, self._arm),
            "cut": (Cut, self._arm),
            "fail": (Fail, self._arm),
            "garbage": (Garbage, self._arm),
            "delay": (Delay, self._delay),
            "expire": (Expire, self._expire),
            "forget-subscriptions": (Expire, self._forget_subscriptions),
            "refuse-topic": (RefuseTopic, self._refuse_topic),
            "expire-http": (Nothing, lambda _: {"expired": self._logins.end_all()}),
            "invalidate-logins": (InvalidateLogins, self._invalidate_logins),
            "deny-handshake": (Count, self._deny),
            "advice": (Advice, self._advise),
            "duplicate": (Count, self._duplicate),
            "set-csrf": (SetCsrf, self._set_csrf),
            "publish": (PublishOrder, self._publish),
            "add-chat": (AddChat, self._add_chat),
            "add-agent": (Nothing, lambda _: {"agent": self._center.add_agent().name}),
            "refuse-monitor": (RefuseMonitor, self._refuse_monitor),
            "end-monitoring": (EndMonitoring, self._end_monitoring),
            "clear": (Nothing, self._clear),
        }

    def handle(self, call: Call) -> Reply:
        """Answer a request below /control/; 403 for peers elsewhere, 400 with the reason for a bad order."""
        if not is_loopback(call.peer):
            return json_reply({"error": "the control endpoint is for the loopback interface only"}, status=403)
        name = call.path.removeprefix(PREFIX)
        if (call.method, name) == ("GET", "state"):
            return json_reply(self.state())
        if call.method != "POST" or name not in self._orders:
            return json_reply({"error": f"no such order: {call.method} {name}"}, status=404)
        try:
            return json_reply(self.execute(name, call.body or b"{}"))
        except Raised as exc:
            return json_reply({"error": str(exc)}, status=400)

    def execute(self, name: str, body: bytes) -> Mapping[str, Any]:
        """Decode and do it. Raises KeyError (no such order), msgspec's errors (members), WebServicesError."""
        order, act = self._orders[name]
        return act(msgspec.json.decode(body, type=order))

    def state(self) -> Mapping[str, Any]:
        """What the node holds now; nothing of it is secret."""
        return {
            "sessions": [_describe(session) for session in self._bayeux.sessions],
            "handshakes": self._bayeux.handshakes,
            "swept": self._bayeux.swept,
            "logins": len(self._logins),
            "chats": self._center.chats,
            "delay_ms": self._faults.delay_ms,
            "pending": self._faults.pending(),
            "used": self._faults.used,
        }

    def publish(self, agent: str, channel: str, text: bytes, count: int = 1) -> int:
        """Queue `count` messages for the agent's sessions (`all`: everybody's); returns how many were queued."""
        users = tuple(self._center.agents) if agent == "all" else (self._center.agent(agent).name,)
        queued = 0
        for number in range(1, count + 1):
            data = msgspec.Raw(text.replace(b"{n}", str(number).encode()))
            queued += sum(self._bayeux.publish(user, channel, data) for user in users)
        return queued

    def _pending(self) -> Mapping[str, Any]:
        return {"pending": self._faults.pending()}

    def _arm(self, fault: Fault) -> Mapping[str, Any]:
        self._faults.arm(fault)
        return self._pending()

    def _deny(self, order: Count) -> Mapping[str, Any]:
        self._faults.deny(order.count)
        return self._pending()

    def _duplicate(self, order: Count) -> Mapping[str, Any]:
        self._faults.duplicate(order.count)
        return self._pending()

    def _refuse_monitor(self, order: RefuseMonitor) -> Mapping[str, Any]:
        self._supervision.refusals[order.agent] = Refusal(
            status=order.status, status_code=order.status_code, count=order.count
        )
        return {"agent": order.agent}

    def _end_monitoring(self, order: EndMonitoring) -> Mapping[str, Any]:
        return {"ended": self._supervision.forget_watches(order.supervisor, order.agent)}

    def _clear(self, _: Nothing) -> Mapping[str, Any]:
        self._faults.clear()
        self._supervision.refusals.clear()
        return self._pending()

    def _delay(self, order: Delay) -> Mapping[str, Any]:
        self._faults.delay_ms, self._faults.delay_target = order.ms, order.target
        return {"delay_ms": order.ms}

    def _expire(self, order: Expire) -> Mapping[str, Any]:
        return {"expired": self._bayeux.remove_all(Wake.EXPIRED, user=order.agent)}

    def _forget_subscriptions(self, order: Expire) -> Mapping[str, Any]:
        sessions = self._bayeux.sessions if order.agent is None else self._bayeux.sessions_of(order.agent)
        for session in sessions:
            session.subscriptions.clear()
        return {"forgotten": len(sessions)}

    def _refuse_topic(self, order: RefuseTopic) -> Mapping[str, Any]:
        change = self._bayeux.refused_topics.add if order.refused else self._bayeux.refused_topics.discard
        change(order.topic)
        return {"refused": sorted(self._bayeux.refused_topics)}

    def _invalidate_logins(self, order: InvalidateLogins) -> Mapping[str, Any]:
        self._logins.refuse(order.seconds)
        return {"seconds": order.seconds}

    def _advise(self, advice: Advice) -> Mapping[str, Any]:
        self._faults.advise(advice)
        sessions = self._bayeux.sessions if advice.agent is None else self._bayeux.sessions_of(advice.agent)
        for session in [session for session in sessions if session.held is not None][: advice.count]:
            session.wake(Wake.ADVISED)
        return self._pending()

    def _set_csrf(self, order: SetCsrf) -> Mapping[str, Any]:
        self._logins.rotate_csrf(enabled=order.enabled, header=order.header)
        return {"enabled": self._logins.csrf, "header": self._logins.csrf_header}

    def _publish(self, order: PublishOrder) -> Mapping[str, Any]:
        if order.raw is None and order.data is msgspec.UNSET:
            raise msgspec.ValidationError("publish needs `data` or `raw`")
        text = order.raw.encode() if order.raw is not None else bytes(order.data)  # type: ignore[arg-type]
        return {"queued": self.publish(order.agent, order.channel, text, order.count)}

    def _add_chat(self, order: AddChat) -> Mapping[str, Any]:
        medium = MEDIA[order.medium]
        return {"chat": self._center.add_chat(order.chat, order.agents, state=order.state, medium=medium).id}


def is_loopback(peer: str | None) -> bool:
    """Whether an address is this machine's own; anything that is no address is not."""
    try:
        return ipaddress.ip_address(peer or "").is_loopback
    except ValueError:
        return False


def _describe(session: CometdSession) -> Mapping[str, Any]:
    return {
        "clientId": session.client_id,
        "agent": session.user,
        "subscriptions": sorted(session.subscriptions),
        "queued": len(session.queue),
        "held": session.held is not None,
        "ack": session.queue.ack,
    }
