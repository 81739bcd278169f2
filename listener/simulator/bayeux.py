"""CometD sessions and the meta messages, as CometD 3.1.12 answers them; holding a poll is `longpoll.py`'s part."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from typing import Any

import msgspec

from listener.runtime.host import Host
from listener.simulator.options import SimulatorOptions
from listener.simulator.queues import MessageQueue


class Wake(Enum):
    """Why a held `/meta/connect` is answered."""

    MESSAGES = auto()
    TIMEOUT = auto()
    ADVISED = auto()
    REPLACED = auto()
    EXPIRED = auto()
    DISCONNECTED = auto()
    STOPPED = auto()


class CometdSession:
    """One client id: whose it is, what it subscribed to, what waits for it, the poll that it holds."""

    def __init__(self, *, client_id: str, user: str, browser: str, login: str) -> None:
        self.client_id = client_id
        self.user = user
        self.browser = browser
        self.login = login
        self.queue = MessageQueue(ack=False)
        self.subscriptions: set[str] = set()
        self.connected = False
        self.held: asyncio.Future[Wake] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def hears(self, channel: str) -> bool:
        """Whether a subscription, or a wildcard one, covers the channel."""
        return any(pattern in self.subscriptions for pattern in _patterns(channel))

    def offer(self, message: bytes) -> None:
        """Queue an encoded message and answer the held poll."""
        self.queue.offer(message)
        self.wake(Wake.MESSAGES)

    def wake(self, reason: Wake) -> None:
        """Answer the held poll; nothing happens without one."""
        held, self.held = self.held, None
        if held is not None and not held.done():
            held.set_result(reason)

    def expire_after(self, delay_s: float, expire: Callable[["CometdSession"], None]) -> None:
        """Set the sweep; it is called off by the next connect."""
        self.stay()
        self._expiry = asyncio.get_running_loop().call_later(delay_s, expire, self)

    def stay(self) -> None:
        """Call off the sweep."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None


class Bayeux:
    """All CometD sessions of the node."""

    def __init__(self, *, options: SimulatorOptions, may_hear: Callable[[str], bool], host: Host) -> None:
        self._host = host
        self._options = options
        self._may_hear = may_hear
        self._sessions: dict[str, CometdSession] = {}
        self._by_user: dict[str, dict[str, CometdSession]] = {}
        self._by_browser: dict[str, set[CometdSession]] = {}
        self._subscription = asyncio.Event()
        self.refused_topics: set[str] = set()
        self.handshakes = 0
        self.swept = 0

    @property
    def sessions(self) -> tuple[CometdSession, ...]:
        """All sessions, oldest first."""
        return tuple(self._sessions.values())

    def sessions_of(self, user: str) -> tuple[CometdSession, ...]:
        """The sessions of one user."""
        return tuple(self._by_user.get(user, {}).values())

    def find(self, client_id: object, *, browser: str | None, user: str) -> CometdSession | None:
        """The session of that client id, if the request has its cookie and its user."""
        session = self._sessions.get(client_id) if isinstance(client_id, str) else None
        if session is None or session.browser != browser or session.user != user:
            return None
        return session

    def polls_of(self, browser: str) -> int:
        """How many polls are held for one cookie jar."""
        return sum(session.held is not None for session in self._by_browser.get(browser, ()))

    def publish(self, user: str, channel: str, data: msgspec.Raw) -> int:
        """Queue a message for the user's sessions that listen to the channel; returns how many do."""
        message = msgspec.json.encode({"data": data, "channel": channel})
        listening = [
            session for session in self.sessions_of(user) if session.hears(channel) and self._may_hear(session.login)
        ]
        for session in listening:
            session.offer(message)
        return len(listening)

    def handshake(self, message: Mapping[str, Any], *, user: str, browser: str, login: str) -> dict[str, Any]:
        """Open a session; its poll is expected within maxInterval."""
        session = CometdSession(client_id=self._host.token(13), user=user, browser=browser, login=login)
        session.queue = MessageQueue(ack=self._options.ack and _ext(message).get("ack") is True)
        self._add(session)
        self.handshakes += 1
        self.expect_poll(session)
        granted = {"ext": {"ack": True}} if session.queue.ack else {}
        return {
            "minimumVersion": "1.0",
            "clientId": session.client_id,
            "supportedConnectionTypes": ["long-polling"],
            "advice": self.advice(),
            **granted,
            **reply_to(message, successful=True),
            "version": "1.0",
        }

    def answer(self, session: CometdSession, message: Mapping[str, Any]) -> dict[str, Any]:
        """Answer anything but handshake and connect; clients may not publish."""
        match message.get("channel"):
            case "/meta/subscribe":
                return self._subscribe(session, message)
            case "/meta/unsubscribe":
                return self._unsubscribe(session, message)
            case "/meta/disconnect":
                self.remove(session, Wake.DISCONNECTED)
                return reply_to(message, successful=True)
            case str():
                return reply_to(message, successful=False) | {"error": "403::Publish denied"}
            case _:
                return reply_to(message, successful=False) | {"error": "400::Channel missing"}

    async def next_subscription(self) -> None:
        """Wait until some session subscribes to something."""
        await self._subscription.wait()

    def _subscribe(self, session: CometdSession, message: Mapping[str, Any]) -> dict[str, Any]:
        names = _channels(message.get("subscription"))
        if names is None:
            return reply_to(message, successful=False) | {"error": "403::Subscription missing"}
        answer = {"subscription": message["subscription"]}
        if any(not name.startswith("/") or name.startswith("/meta/") or name in self.refused_topics for name in names):
            return reply_to(message, successful=False) | answer | {"error": "403::Subscribe denied"}
        session.subscriptions.update(names)
        self._subscription.set()
        self._subscription = asyncio.Event()
        return reply_to(message, successful=True) | answer

    def _unsubscribe(self, session: CometdSession, message: Mapping[str, Any]) -> dict[str, Any]:
        names = _channels(message.get("subscription"))
        if names is None:
            return reply_to(message, successful=False) | {"error": "403::Subscription missing"}
        session.subscriptions.difference_update(names)
        return reply_to(message, successful=True) | {"subscription": message["subscription"]}

    def advice(self) -> dict[str, Any]:
        """The advice of a healthy server; milliseconds."""
        return {"interval": self._options.interval_ms, "timeout": self._options.timeout_ms, "reconnect": "retry"}

    def expect_poll(self, session: CometdSession, *, interval_ms: int | None = None) -> None:
        """Start the clock that sweeps a session without a poll; a session that is gone stays gone."""
        if session.client_id not in self._sessions:
            return
        pause_ms = self._options.interval_ms if interval_ms is None else interval_ms
        session.expire_after((pause_ms + self._options.max_interval_ms) / 1000, self._sweep)

    def remove(self, session: CometdSession, reason: Wake) -> None:
        """Forget a session and all that waits for it; its held poll is answered accordingly."""
        session.stay()
        if self._sessions.pop(session.client_id, None) is None:
            return
        del self._by_user[session.user][session.client_id]
        jar = self._by_browser[session.browser]
        jar.discard(session)
        if not jar:
            del self._by_browser[session.browser]
        session.wake(reason)

    def remove_all(self, reason: Wake, *, user: str | None = None) -> int:
        """Forget the sessions of one user or of all; returns how many."""
        leaving = self.sessions if user is None else self.sessions_of(user)
        for session in leaving:
            self.remove(session, reason)
        return len(leaving)

    def _add(self, session: CometdSession) -> None:
        self._sessions[session.client_id] = session
        self._by_user.setdefault(session.user, {})[session.client_id] = session
        self._by_browser.setdefault(session.browser, set()).add(session)

    def _sweep(self, session: CometdSession) -> None:
        self.swept += 1
        self.remove(session, Wake.EXPIRED)


def reply_to(message: Mapping[str, Any], *, successful: bool) -> dict[str, Any]:
    """The fields that every reply has: channel, the request's id as it came, the verdict."""
    echoed = {"id": message["id"]} if "id" in message else {}
    return {"channel": message.get("channel"), **echoed, "successful": successful}


def unknown_client(message: Mapping[str, Any]) -> dict[str, Any]:
    """402; only handshake and connect tell the client what to do about it."""
    reply = reply_to(message, successful=False) | {"error": "402::Unknown client"}
    if message.get("channel") in {"/meta/handshake", "/meta/connect"}:
        reply["advice"] = {"reconnect": "handshake", "interval": 0}
    return reply


def _ext(message: Mapping[str, Any]) -> Mapping[str, Any]:
    ext = message.get("ext")
    return ext if isinstance(ext, dict) else {}


def acknowledged(message: Mapping[str, Any]) -> int | None:
    """The batch number in a connect's `ext.ack`, None without one."""
    batch = _ext(message).get("ack")
    return batch if isinstance(batch, int) and not isinstance(batch, bool) else None


def _channels(subscription: object) -> list[str] | None:
    wanted: list[Any] = subscription if isinstance(subscription, list) else [subscription]
    return wanted if wanted and all(isinstance(name, str) for name in wanted) else None


def _patterns(channel: str) -> Iterator[str]:
    """The channel and the wildcards above it: /a/b, /a/*, /a/**, /**."""
    yield channel
    parent = channel.rpartition("/")[0]
    yield f"{parent}/*"
    while parent:
        yield f"{parent}/**"
        parent = parent.rpartition("/")[0]
    yield "/**"
