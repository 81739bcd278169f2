"""The site: the simulated server with its agents at work, a gateway before it, and a record of what they did."""

import asyncio
import random
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from listener.errors import NotFound, ParameterInvalid
from listener.runtime.host import Host
from listener.simulator import Simulator, SimulatorOptions
from listener.simulator.bayeux import CometdSession, reply_to
from listener.simulator.logins import HttpSession
from listener.simulator.media import CHAT, MEDIA, VOICE, ChatState, NoticeKind
from listener.simulator.state import FIRST_CHAT, Agent
from listener.simulator.wire import Call, Reply
from simulation.evidence import (
    KEY,
    Answer,
    Confirmed,
    Evidence,
    Publication,
    Session,
    SessionProblem,
    Shared,
    Verdict,
)
from simulation.loop import Loop
from simulation.oracle import LOGIN_S
from simulation.schedule import StandIn

PORT = 8080
_BREAKS = ("Partition", "Refuse", "Reset", "ServerRestart", "CutOff from gws")
"""Faults in which an answer does not come."""
LEARNED_FROM = 3  # answers that a proxy cuts; from then on nobody should ask for one that takes so long
CODES = ("resolved", "callback", "spam")  # beside those that are used once
_ENDS = (b"402::", b'"reconnect":"handshake"', b'"reconnect":"none"')
_NO_LOGIN = (b"Access denied", b"Csrf token")
_INTERVAL = re.compile(rb'"interval":(\d+)')
_PEER: ContextVar[str] = ContextVar("peer", default="")
"""The host whose request is being answered."""
_DECODE = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Site(Simulator):
    """The simulator, watched; it can refuse a login in Bayeux, and a gateway can stand in for its answers."""

    def __init__(
        self, options: SimulatorOptions, *, host: Host, loop: Loop, evidence: Evidence, media: Sequence[str]
    ) -> None:
        super().__init__(options, host=host)
        self.media = media
        self._loop = loop
        self._host = host
        self.evidence = evidence
        self.read_timeout_s: float | None = None
        self._cut: Counter[str] = Counter()
        self._behind_the_proxy: set[asyncio.Task[Reply]] = set()
        self._stand_ins: list[StandIn] = []
        self._refused: dict[str, tuple[str, frozenset[str]]] = {}
        self._unsubscribable: dict[str, int] = {}
        self._begun: set[str] = set()
        self._idle_since: dict[str, float] = {}
        self._logged: set[str] = set()  # sessions that know that they are over, or were asked to begin anew
        self._refused_login: dict[str, float] = {}
        self._whose: dict[str, str] = {}  # logins and sessions, those too that the server knows no more
        evidence.team.began[FIRST_CHAT] = 0.0
        self.supervision._on_channel = self._on_monitor  # type: ignore[method-assign]
        self._bayeux._sweep = self._swept  # type: ignore[method-assign]
        self._unwatched_expect_poll = self._bayeux.expect_poll
        self._bayeux.expect_poll = self._expect_poll  # type: ignore[method-assign]
        self._watched: set[str] = set()
        self._unwatched_before = self._faults.before
        self._faults.before = self._before  # type: ignore[method-assign]

    def stand_in(self, fault: StandIn) -> None:
        """Spoil the next answers of the CometD server."""
        self._stand_ins.append(fault)

    def meet_a_new_process(self) -> None:
        """The listener was started: it has yet to learn what a proxy cuts."""
        self._cut = Counter()  # what is held yet of the one before is cut for nobody

    def refuse_in_bayeux(self, agent: str, error: str) -> None:
        """Take no request of the agent's present logins any more, and say so under HTTP 200."""
        known = frozenset(one.id for one in self._logins._sessions.values() if one.user == agent)
        self._refused[agent] = (error, known)

    def deny_subscription(self, agent: str, count: int) -> None:
        """Refuse the agent's next subscriptions."""
        self._unsubscribable[agent] = count

    def excuse(self, agent: str) -> None:
        """Whatever becomes of the agent's present sessions is not the listener's fault."""
        self._logged.update(session.client_id for session in self._bayeux.sessions_of(agent))

    def heal(self) -> None:
        """Nothing goes wrong any more; a login that has run out needs another, all the same."""
        self.control("clear")
        self._logins._refused_until_s = 0.0
        self._stand_ins.clear()
        self.read_timeout_s = None
        self._unsubscribable.clear()
        self._bayeux.refused_topics.clear()

    def listens(self, agent: str) -> bool:
        """Whether one of the agent's sessions would hear something, and has been polled as it should be."""
        since = self._loop.now_s - (self.options.timeout_ms + self.options.max_interval_ms) / 1000
        return self.subscribed(agent, self.media) and any(
            session.held is not None or self._idle_since.get(session.client_id, 0.0) >= since
            for session in self._bayeux.sessions_of(agent)
        )

    # --- what is watched ----------------------------------------------------------------------------------------------

    def publish(
        self, agent: str, data: Mapping[str, Any] | Sequence[Any] | bytes | None, channel: str = CHAT.topic
    ) -> int:
        """Put a notification on one of the agent's channels, and on record."""
        heard = super().publish(agent, data, channel)
        if self.supervision.users and isinstance(data, Mapping) and "chat" in data:
            self.evidence.team.members.setdefault(data["chat"]["id"], set()).add(agent)
            self.evidence.team.began.setdefault(data["chat"]["id"], self._loop.now_s)
            if agent in self.supervision.users and heard:
                self.evidence.team.came_in.setdefault(data["chat"]["id"], self._loop.now_s)
        if isinstance(data, Mapping):
            key, values = _properties(data, channel)
            if KEY in values:
                self.evidence.published.append(
                    Publication(
                        number=len(self.evidence.published),
                        at=self._loop.now_s,
                        stamp_ms=data["metrics"]["eventProcessing"]["serverGenerationTimestamp"],
                        agent=agent,
                        chat=key,
                        value=values[KEY] or None,
                        heard=heard > 0,
                    )
                )
        return heard

    def _on_monitor(self, name: str, supervisor: str, agent: Agent, session: HttpSession, mode: str) -> Any:
        """Note when each agent was monitored first."""
        answer = type(self.supervision)._on_channel(self.supervision, name, supervisor, agent, session, mode)
        if name == "Monitor":
            self.evidence.team.monitored_since.setdefault(agent.name, self._loop.now_s)
        return answer

    def note_team_at_the_end(self) -> None:
        """Which chats supervisors are in."""
        for name in self.supervision.users:
            self.evidence.team.heard |= {chat.key for chat, _ in self.supervision.chats_of(name)}

    def _note(self, session: CometdSession, what: str) -> None:
        idle_since = self._idle_since.get(session.client_id, self._loop.now_s)
        self.evidence.sessions.append(
            Session(
                at=self._loop.now_s,
                agent=session.user,
                client_id=session.client_id,
                what=what,
                idle_since=idle_since,
            )
        )

    def _swept(self, session: CometdSession) -> None:
        if session.client_id in self._idle_since and session.client_id not in self._logged:
            self._note(session, "swept")
        type(self._bayeux)._sweep(self._bayeux, session)

    def _expect_poll(self, session: CometdSession, *, interval_ms: int | None = None) -> None:
        """A poll was answered, whoever gets the answer: from now on the session is idle."""
        if session.connected:
            self._idle_since[session.client_id] = self._loop.now_s
        self._unwatched_expect_poll(session, interval_ms=interval_ms)

    async def _serve(self, call: Call) -> Reply:
        asked_at, messages = self._loop.now_s, _DECODE(call.body) if call.notifications else []
        if messages:
            reply = await self._notify(call, messages)
        else:
            reply = await super()._serve(call)
            self._note_login(call, reply)
        self._note_answer(call, messages, reply, asked_at)
        return reply

    def _note_answer(self, call: Call, messages: Sequence[Mapping[str, Any]], reply: Reply, asked_at: float) -> None:
        """Note what it was worth; a proxy that cuts what takes too long is none of its troubles once it is known."""
        cookie, named = call.cookies.get("JSESSIONID", ""), _named(call)
        for key, value in reply.cookies:
            if key == "JSESSIONID" and (named or self._agent_of(call)):
                self._whose[value] = named or self._agent_of(call)
        client_id = str(messages[0].get("clientId", "")) if messages else ""
        agent = named or self._whose.get(client_id) or self._whose.get(cookie, "")
        if client_id:
            self._whose.setdefault(client_id, agent)
        is_learned = self._may_be_learned_from(messages) and self._cut[self._agent_of(call)] > LEARNED_FROM
        if reply.status == 504 and is_learned:
            return
        what = str(messages[0].get("channel")) if messages else "login" if named else "rest"
        self.evidence.answers.append(
            Answer(
                asked_at=asked_at,
                left_at=self._loop.now_s,
                agent=agent,
                peer=call.peer or "",
                client_id=client_id,
                what=what,
                verdict=Verdict.UNKNOWN_LOGIN if self._is_of_a_lost_login(call, reply) else _worth(reply, messages),
                interval_ms=max(map(int, _INTERVAL.findall(reply.body)), default=None) if messages else None,
            )
        )

    def _is_of_a_lost_login(self, call: Call, reply: Reply) -> bool:
        if any(call.cookies.get("JSESSIONID") in logins for _, logins in self._refused.values()):
            return b"::" in reply.body
        return _named(call) is None and reply.status == 403 and any(one in reply.body for one in _NO_LOGIN)

    async def _notify(self, call: Call, messages: Sequence[Mapping[str, Any]]) -> Reply:
        if self.evidence.shared is not None:
            self._watch(self.evidence.shared, call, messages)
        refusal = self._refusal(call, messages)
        if refusal is not None:
            return refusal
        reply = await self._through_the_proxy(call, messages)
        if reply is None:
            return Reply(status=504, body=b"<html>too late</html>", content_type="text/html")
        if b'"successful":false' in reply.body:
            self._note_trouble(self._agent_of(call), "Refused")
        for message in messages:
            if message.get("channel") == "/meta/connect" and any(words in reply.body for words in _ENDS):
                self._logged.add(str(message.get("clientId")))
            elif message.get("channel") == "/meta/handshake":
                self._note_beginnings()
        return self._through_the_gateway(call, reply)

    def _watch(self, shared: Shared, call: Call, messages: Sequence[Mapping[str, Any]]) -> None:
        """Note which replica polls, and what the server forgets since a replica has acknowledged it."""
        _PEER.set(call.peer or "")
        for session in self._bayeux.sessions:
            if session.client_id not in self._watched:
                self._watched.add(session.client_id)
                session.queue.acknowledge = partial(self._acknowledged, session)  # type: ignore[method-assign]
        for message in messages:
            session = self._bayeux._sessions.get(str(message.get("clientId")))
            if message.get("channel") == "/meta/connect" and session is not None:
                shared.polls.append((self._loop.now_s, session.user, call.peer or ""))

    def _acknowledged(self, session: CometdSession, batch: int) -> bool:
        for number, message in session.queue._waiting:
            if number <= batch and self.evidence.shared is not None:
                told = msgspec.json.decode(message)
                data = told["data"]
                key, values = _properties(data, told["channel"])
                if KEY in values:
                    self.evidence.shared.confirmed.append(
                        Confirmed(
                            at=self._loop.now_s,
                            host=_PEER.get(),
                            agent=session.user,
                            chat=key,
                            value=values[KEY] or None,
                            stamp_ms=data["metrics"]["eventProcessing"]["serverGenerationTimestamp"],
                        )
                    )
        return type(session.queue).acknowledge(session.queue, batch)

    def _note_beginnings(self) -> None:
        """Note sessions that are new, and those of the same agent that they take the place of.

        One that was never polled is none: the answer to its handshake may not have arrived.
        """
        for session in self._bayeux.sessions:
            if session.client_id in self._begun:
                continue
            self._begun.add(session.client_id)
            self._note(session, "began")
            for other in self._bayeux.sessions_of(session.user):
                if other is not session and other.client_id in self._idle_since.keys() - self._logged:
                    self._logged.add(other.client_id)
                    self._note(other, "abandoned")

    def _note_trouble(self, agent: str, fault: str) -> None:
        now_s = self._loop.now_s
        agents = frozenset([agent] if agent else [*self.center.agents, *self.supervision.users])
        self.evidence.troubles.append(SessionProblem(since=now_s, until=now_s, agents=agents, fault=fault))

    def _note_login(self, call: Call, reply: Reply) -> None:
        """A login that is refused keeps its agent away until he may try the next."""
        agent, now_s = _named(call), self._loop.now_s
        if agent is None:
            return
        self._note_refusal(agent)
        if reply.status in (401, 403):
            self._refused_login[agent] = now_s

    def _note_refusal(self, agent: str) -> None:
        since = self._refused_login.pop(agent, None)
        if since is not None:
            until = min(self._loop.now_s, since + LOGIN_S)
            self.evidence.troubles.append(
                SessionProblem(since=since, until=until, agents=frozenset([agent]), fault="LoginRefused", cuts=True)
            )

    def note_refusals(self) -> None:
        """Of logins that nobody has tried again: another replica has taken over with one that holds."""
        for agent in list(self._refused_login):
            self._note_refusal(agent)

    def _agent_of(self, call: Call) -> str:
        login = self._logins._sessions.get(call.cookies.get("JSESSIONID", ""))
        return "" if login is None else str(login.user)

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def _refusal(self, call: Call, messages: Sequence[Mapping[str, Any]]) -> Reply | None:
        """An error in Bayeux under HTTP 200: a login that ran out, or a subscription that is not allowed."""
        for error, logins in self._refused.values():
            if call.cookies.get("JSESSIONID") in logins:
                return _refused(messages, error)
        session = self._bayeux._sessions.get(str(messages[0].get("clientId")))
        if messages[0].get("channel") == "/meta/subscribe" and session is not None:
            left = self._unsubscribable.get(session.user, 0)
            if left:
                self._unsubscribable[session.user] = left - 1
                self._note_trouble(session.user, "DenySubscription")
                return _refused(messages, "403::Subscription denied")
        return None

    def _before(self, call: Call) -> Reply | None:
        reply = self._unwatched_before(call)
        if reply is not None:
            self._note_trouble(self._agent_of(call), "Fail")
        return reply

    async def _through_the_proxy(self, call: Call, messages: Sequence[Mapping[str, Any]]) -> Reply | None:
        """The server's answer; None where it comes too late for a proxy, and is lost."""
        if self.read_timeout_s is None:
            return await super()._serve(call)
        answering = asyncio.create_task(super()._serve(call), name="behind the proxy")
        self._behind_the_proxy.add(answering)
        answering.add_done_callback(self._behind_the_proxy.discard)
        agent, asked_at, cut = self._agent_of(call), self._loop.now_s, self._cut
        done, _ = await asyncio.wait((answering,), timeout=self.read_timeout_s)
        if done:
            return answering.result()
        may_learn = self._may_be_learned_from(messages)
        if may_learn:  # an outage makes the next cut the first one again
            cut[agent] = cut[agent] + 1 if self._is_heard(agent, asked_at) else 0
        if not may_learn or self._cut[agent] <= LEARNED_FROM:
            self._note_trouble(agent, "ReadTimeout")
        return None

    def _may_be_learned_from(self, messages: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a proxy cuts what asks for this for its hold, and not because the server is slow."""
        if self.read_timeout_s is None or not messages or messages[0].get("channel") != "/meta/connect":
            return False
        hold_ms = (messages[0].get("advice") or {}).get("timeout", self.options.timeout_ms)
        return bool(hold_ms > self.read_timeout_s * 1000)

    def _is_heard(self, agent: str, asked_at: float) -> bool:
        """Whether an answer that leaves now comes to who asked then: nobody learns from one that does not."""
        return not any(
            one.fault in _BREAKS and agent in one.agents and one.since <= self._loop.now_s and one.until >= asked_at
            for one in self.evidence.troubles
        )

    def _through_the_gateway(self, call: Call, reply: Reply) -> Reply:
        for fault in self._stand_ins:
            if fault.only == "any" or reply.events:
                self._stand_ins.remove(fault)
                if fault.count > 1:
                    self._stand_ins.insert(0, msgspec.structs.replace(fault, count=fault.count - 1))
                return _dressed(reply, fault)
        return reply


def _properties(data: Mapping[str, Any], channel: str) -> tuple[str, Mapping[str, Any]]:
    """Of which interaction a notification carries user data, and this; nothing of any other notification."""
    medium = next(one for one in MEDIA.values() if one.topic == channel)
    if data.get("notificationType") != medium.word(NoticeKind.PROPERTIES):
        return "", {}
    told = data[medium.container]
    return medium.key(told["id"]), told.get("userData", {})


def _named(call: Call) -> str | None:
    """Who logs in with this request; None where nobody does."""
    scheme, _, credentials = call.headers.get("Authorization", "").partition(" ")
    return b64decode(credentials).decode().partition(":")[0] if scheme == "Basic" else None


def _worth(reply: Reply, messages: Sequence[Mapping[str, Any]]) -> Verdict:
    """What an answer is to whoever gets it."""
    if reply.destroy or reply.status >= 500 or reply.status == 408:
        return Verdict.LOST
    is_whole = reply.cut_after is None and reply.status < 300
    if not is_whole or (messages and not (reply.body.endswith(b"}]") and b"/meta/" in reply.body)):
        return Verdict.REFUSED if reply.status in (401, 403) else Verdict.SPOILT
    is_end = b'"reconnect":"none"' in reply.body or b'"reconnect":"handshake"' in reply.body
    if b"402::" in reply.body or (b'"successful":true' in reply.body and is_end):
        return Verdict.UNKNOWN_CLIENT
    return Verdict.REFUSED if b'"successful":false' in reply.body else Verdict.GRANTED


def _refused(messages: Sequence[Mapping[str, Any]], error: str) -> Reply:
    return Reply(body=msgspec.json.encode([reply_to(one, successful=False) | {"error": error} for one in messages]))


def _dressed(reply: Reply, fault: StandIn) -> Reply:
    if fault.keeps_body:
        return replace(reply, status=fault.status)
    headers = (("Location", "http://gws:8080/login"),) if fault.status == 302 else ()
    return replace(reply, status=fault.status, body=b"<html>gateway</html>", content_type="text/html", headers=headers)


class Agents:
    """Agents at work: they set, change, clear and repeat dispositions, take chats, share and complete them.

    Args:
        site: where they work.
        names: who.
        dice: when and what.
    """

    def __init__(self, site: Site, names: Sequence[str], dice: random.Random) -> None:
        self._site = site
        self._names = names
        self._dice = dice
        self._codes = 0
        for name in names:
            self._take_chat(name)

    async def work(self, pace_s: float) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / pace_s))
            try:
                self._do_something(self._dice.choice(self._names))
            except (NotFound, ParameterInvalid):
                continue

    def _do_something(self, agent: str) -> None:
        chats = [chat.key for chat in self._site.center.chats_of(agent)]
        if not chats or (len(chats) < 4 and self._dice.random() < 0.15):
            self._take_chat(agent)
            return
        chat = self._dice.choice(chats)
        match self._dice.choices(range(5), (60, 10, 8, 8, 5))[0]:
            case 0:
                self._codes += 1
                self._site.set_disposition(agent, chat, f"code-{self._codes}")
            case 1:
                self._site.set_disposition(agent, chat, self._dice.choice(CODES))
            case 2:
                self._site.set_disposition(agent, chat, "")
            case 3 if self._site.supervision.users and self._dice.random() < 0.6:
                self._site.operate(agent, chat, "Leave")
            case 3:
                self._end(agent, chat)
            case 4:
                other = self._dice.choice(self._names)
                if other not in self._site.center.chat_of(agent, chat).states:
                    self._site.desk.join(chat, agent, other, base_url=self._site.url)

    def _end(self, agent: str, chat: str) -> None:
        """A call is released first: what is set until it is completed is told to nobody."""
        known = self._site.center.chat_of(agent, chat)
        is_call = known.medium is VOICE and known.states[agent] is ChatState.CHATTING
        self._site.operate(agent, chat, "Release" if is_call else "Complete")

    def _take_chat(self, agent: str) -> None:
        """One of another medium has the id of a chat that is there, if there is one."""
        media = [MEDIA[name] for name in self._site.media]
        medium = media[0] if len(media) == 1 else self._dice.choice(media)
        known = [] if medium is CHAT else [one.id for one in self._site.center.chats_of(agent, CHAT)]
        chat = known[-1] if known else self._site.center.fresh_chat_id()
        key = self._site.desk.invite(chat, agent, user_data={}, base_url=self._site.url, medium=medium)
        self._site.operate(agent, key, "Answer" if medium is VOICE else "Accept")


def values_of(site: Site) -> dict[tuple[str, str], str | None]:
    """What the chats say now, by agent and chat; only where a disposition was ever set."""
    return {
        (agent, chat.key): chat.user_data[KEY] or None
        for agent in site.center.agents
        for chat in site.center.chats_of(agent)
        if KEY in chat.user_data
    }
