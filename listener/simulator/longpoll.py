"""The long-polling transport: a body of messages in, held polls, events and replies out."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from listener.errors import UNDECODABLE
from listener.runtime.host import Host
from listener.simulator.bayeux import Bayeux, CometdSession, Wake, acknowledged, reply_to, unknown_client
from listener.simulator.faults import Faults
from listener.simulator.logins import HttpSession
from listener.simulator.options import SimulatorOptions
from listener.simulator.wire import Call, Reply, plain_reply

COOKIE = "BAYEUX_BROWSER"
_MULTIPLE_CLIENTS_INTERVAL_MS = 2000
_DECODER = msgspec.json.Decoder(dict[str, Any] | list[dict[str, Any]])


class PollEndedError(Exception):
    """The poll gets no Bayeux answer: another one took its place (HTTP 500), or the node stops (`stopped`)."""

    def __init__(self, *, stopped: bool) -> None:
        super().__init__("stopped" if stopped else "replaced")
        self.stopped = stopped


@dataclass(kw_only=True, slots=True)
class _Exchange:
    """One HTTP request under way. `send_queue` says whether waiting events ride on its answer."""

    session: CometdSession | None
    user: str
    login: str
    browser: str | None
    alone: bool
    cookies: tuple[tuple[str, str], ...] = ()
    replies: list[Mapping[str, Any]] = field(default_factory=list)
    send_queue: bool = False


class LongPolling:
    """Answers the notifications path for requests that are logged in."""

    def __init__(self, *, bayeux: Bayeux, faults: Faults, options: SimulatorOptions, host: Host) -> None:
        self._host = host
        self._bayeux = bayeux
        self._faults = faults
        self._options = options

    async def handle(self, call: Call, login: HttpSession) -> Reply:
        """Answer one request; a `/meta/connect` alone in its body may take up to the timeout."""
        messages = _parse(call)
        if messages is None:
            return plain_reply("Bad Request", status=400)
        if not messages or (len(messages) > 1 and any(m.get("channel") == "/meta/handshake" for m in messages)):
            return plain_reply("bayeux protocol violation", status=500)
        exchange = self._begin(call, login, messages)
        try:
            for message in messages:
                exchange.replies.append(await self._process(exchange, message))
        except PollEndedError as ended:
            return Reply(destroy=True) if ended.stopped else plain_reply("", status=500)
        return self._finish(exchange)

    def _begin(self, call: Call, login: HttpSession, messages: Sequence[Mapping[str, Any]]) -> _Exchange:
        user = str(login.user)
        browser = call.cookies.get(COOKIE)
        session = self._bayeux.find(messages[0].get("clientId"), browser=browser, user=user)
        if session is not None:
            session.login = login.id  # a new login of the same user carries the session on
        return _Exchange(session=session, user=user, login=login.id, browser=browser, alone=len(messages) == 1)

    async def _process(self, exchange: _Exchange, message: Mapping[str, Any]) -> Mapping[str, Any]:
        channel = message.get("channel")
        if channel == "/meta/handshake":
            return self._handshake(exchange, message)
        session = exchange.session
        if session is None or message.get("clientId") != session.client_id:
            return unknown_client(message)
        if channel == "/meta/connect":
            return await self._connect(exchange, session, message)
        # with acknowledgement, events come with connect replies only
        exchange.send_queue |= not session.queue.ack
        return self._bayeux.answer(session, message)

    def _handshake(self, exchange: _Exchange, message: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._faults.take_denial():
            refusal = {"error": "403::Handshake denied", "advice": {"reconnect": "none", "interval": 0}}
            return reply_to(message, successful=False) | refusal
        browser = exchange.browser
        if browser is None:
            browser = self._host.token(8)
            exchange.cookies = ((COOKIE, browser),)
        return self._bayeux.handshake(message, user=exchange.user, browser=browser, login=exchange.login)

    async def _connect(
        self, exchange: _Exchange, session: CometdSession, message: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        session.wake(Wake.REPLACED)
        session.stay()
        batch = acknowledged(message)
        repeat = session.queue.ack and batch is not None and session.queue.acknowledge(batch)
        advice = await self._hold(exchange, session, message, repeat=repeat)
        if advice is None:
            return unknown_client(message)
        exchange.send_queue = True
        reply = reply_to(message, successful=True)
        if session.queue.ack:
            reply["ext"] = {"ack": session.queue.close_batch()}
        override = self._faults.take_advice(session.user)
        if override is not None:
            reply |= {"successful": override.successful, "advice": advice | override.fields()}
        elif advice:
            reply["advice"] = advice
        interval_ms = reply.get("advice", {}).get("interval")
        self._bayeux.expect_poll(session, interval_ms=interval_ms)
        return reply

    async def _hold(
        self, exchange: _Exchange, session: CometdSession, message: Mapping[str, Any], *, repeat: bool
    ) -> dict[str, Any] | None:
        """Wait as long as this poll may wait; returns the advice of its reply, None when the session is gone."""
        first, session.connected = not session.connected, True
        asked = _asked_timeout_ms(message)
        # who sends advice may have forgotten the server's, so it is told again
        advice = {} if asked is None and not first else self._bayeux.advice()
        if not exchange.alone or session.queue.fresh or repeat or self._faults.advises(session.user):
            return advice
        if self._bayeux.polls_of(session.browser) > 0:
            several = {"multiple-clients": True, "reconnect": "retry", "interval": _MULTIPLE_CLIENTS_INTERVAL_MS}
            return advice | several
        timeout_ms = self._options.timeout_ms if asked is None else asked
        if first or timeout_ms <= 0:
            return advice
        match await _wait(session, timeout_ms / 1000):
            case Wake.REPLACED | Wake.STOPPED as reason:
                raise PollEndedError(stopped=reason is Wake.STOPPED)
            case Wake.EXPIRED:
                return None
            case Wake.DISCONNECTED:
                return advice | {"reconnect": "none"}
            case _:
                return advice

    def _finish(self, exchange: _Exchange) -> Reply:
        """Write the answer: events first, then replies. What is written here has left the queue, heard or not."""
        events = exchange.session.queue.take() if exchange.session and exchange.send_queue else []
        if events and exchange.session and self._faults.take_duplicate():
            for event in events:
                exchange.session.queue.offer(event)
        body = b"[" + b",".join([*events, *map(msgspec.json.encode, exchange.replies)]) + b"]"
        return Reply(body=body, cookies=exchange.cookies, events=len(events))


async def _wait(session: CometdSession, timeout_s: float) -> Wake:
    loop = asyncio.get_running_loop()
    session.held = loop.create_future()
    held = session.held
    timer = loop.call_later(timeout_s, session.wake, Wake.TIMEOUT)
    try:
        return await held
    finally:
        timer.cancel()
        if session.held is held:
            session.held = None


def _parse(call: Call) -> list[dict[str, Any]] | None:
    if call.method != "POST":
        return None
    try:
        decoded = _DECODER.decode(call.body)
    except UNDECODABLE:
        return None
    return decoded if isinstance(decoded, list) else [decoded]


def _asked_timeout_ms(message: Mapping[str, Any]) -> int | None:
    advice = message.get("advice")
    timeout = advice.get("timeout") if isinstance(advice, dict) else None
    return timeout if isinstance(timeout, int) and timeout >= 0 else None
