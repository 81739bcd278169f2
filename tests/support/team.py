"""A supervisor with its team in virtual time: the real parts up to the journal, before the simulator's own floor."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Self

import msgspec
from msgspec import Raw

from listener.cometd.facts import (
    Batch,
    Cause,
    Fact,
    Polled,
    PollingEnded,
    RestoredBy,
    Resume,
    SessionProblem,
    Subscribed,
)
from listener.intake.monitoring import Monitoring
from listener.intake.receiver import Identity, ReceiverOptions
from listener.intake.reconciliation import Reconciler
from listener.intake.recorder import Recorder
from listener.intake.supervisor import SupervisorReceiver
from listener.intake.team import Team
from listener.model.event import Kind, SessionState, epoch_ms
from listener.runtime.clock import Moment
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics
from listener.simulator import SimulatorOptions
from listener.simulator.logins import HttpSession
from listener.simulator.notices import chat_resource
from listener.simulator.operations import Desk
from listener.simulator.state import ContactCenter
from listener.simulator.supervision import Refusal, Supervision, supervisors_of
from listener.testing import MemoryJournal
from listener.webservices.notifications import NotificationDecoder
from listener.webservices.supervisor import Person
from listener.webservices.team import TeamChats, TeamDecoder
from support.virtual import virtual_host

if TYPE_CHECKING:
    from listener.errors import WebServicesError

KEY = "DispositionCode"
URL = "http://gws"
NAME = "supervisor1"
POLL_S = 30.0
_RESUME = Resume(client_id="c1", connection_type="long-polling", ack=None)


class Site:
    """The floor, as far as a supervisor sees it; `said` is every code that was set: when, by whom, in which chat."""

    def __init__(self, host: Host, **options: Any) -> None:
        self.options = SimulatorOptions(supervisors=1, agents=4, groups=(("Sales", ("agent1", "agent2")),), **options)
        self.host = host
        self.center = ContactCenter(agents=self.options.agents)
        self.listener: Wire | None = None
        self.living: set[str] = set()
        self.said: list[tuple[int, str, str, str]] = []
        self.supervision = Supervision(
            center=self.center,
            publish=self._publish,
            options=self.options,
            clock_ms=host.clock.now_ms,
            lives=self.living.__contains__,
            users=supervisors_of(self.options),
        )
        self.desk = Desk(
            center=self.center,
            publish=self._publish,
            options=self.options,
            clock_ms=host.clock.now_ms,
            supervision=self.supervision,
        )

    def _publish(self, user: str, data: Any, _topic: str) -> int:
        if user != NAME or self.listener is None or not self.listener.is_up:
            return 0
        self.listener.bring(data)
        return 1

    def chat(self, agent: str, chat: str) -> None:
        """The agent takes a chat."""
        self.desk.invite(chat, agent, user_data={}, base_url=URL)
        self.do(agent, "Accept", chat)

    def do(self, agent: str, operation: str, chat: str, **parameters: Any) -> None:
        """Any operation of an agent."""
        self.desk.perform(agent, chat, {"operationName": operation, **parameters}, base_url=URL)

    def set(self, agent: str, chat: str, code: str) -> None:
        """The agent sets a code."""
        self.said.append((self.host.clock.now_ms(), agent, chat, code))
        self.do(agent, "SetDisposition", chat, disposition=code)

    def refuse(self, agent: str, status_code: int = 6, *, count: int = 1) -> None:
        """Monitor of this agent is refused."""
        self.supervision.refusals[agent] = Refusal(status=404, status_code=status_code, count=count)


class Rest:
    """The REST API as the supervisor has it; `down` makes every request fail with it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.down: WebServicesError | None = None
        self.logins = 0
        self.asked: list[str] = []
        self.session: HttpSession | None = None
        self.in_contact_center = True

    def log_in(self) -> None:
        self.logins += 1
        self.session = HttpSession(
            id=f"login{self.logins}", user=NAME, csrf_token="", seen_s=0.0, in_contact_center=self.in_contact_center
        )
        self.site.living.add(self.session.id)

    def _up(self) -> HttpSession:
        if self.down is not None:
            raise self.down
        assert self.session is not None
        return self.session

    def _get(self, path: str, **query: str) -> Any:
        return self.site.supervision.get(f"/api/v2/{path}", query, self._up(), URL)

    def _post(self, path: str, operation: str) -> None:
        self.site.supervision.post(f"/api/v2/users/{path}", operation, self._up(), URL, "AllChats")

    async def keepalive(self) -> None:
        self._up()

    async def users(self) -> list[Person]:
        return _people(self._get("users"))

    async def group(self, name: str) -> list[Person]:
        return _people(self._get(f"groups/group-{name}/users"))

    async def monitor(self, user_id: str) -> None:
        self.asked.append(user_id)
        await asyncio.sleep(0.01)
        self._post(f"{user_id}/channels/chat", "Monitor")

    async def cancel_monitoring(self, user_id: str) -> None:
        self._post(f"{user_id}/channels/chat", "CancelSupervisorMonitoring")

    async def chats_under_way(self, user_id: str) -> list[str]:
        return [chat["id"] for chat in self._get(f"users/{user_id}/chats")["chats"]]

    async def join(self, user_id: str, chat_id: str) -> None:
        self._post(f"{user_id}/chats/{chat_id}", "Intrude")

    async def leave(self, chat_id: str) -> None:
        self._up()
        self.site.supervision.leave(NAME, chat_id, base_url=URL)

    async def chats(self, _media_type: str = "chat") -> list[Raw]:
        self._up()
        chats = self.site.supervision.chats_of(NAME)
        shown = [chat_resource(chat, state, base_url=URL, user_data=chat.user_data) for chat, state in chats]
        return [Raw(msgspec.json.encode(one)) for one in shown]


def _people(answer: Any) -> list[Person]:
    return [msgspec.convert(one, Person) for one in answer["users"]]


class Wire:
    """Stands for the CometD client: what the site publishes comes as batches, and polls are granted while it is up."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._facts: asyncio.Queue[Fact] = asyncio.Queue()
        self._batch = 0
        self.is_up = False
        self.rehandshakes = 0

    def now(self) -> Moment:
        return Moment.of(self._host.clock)

    def bring(self, data: Any) -> None:
        self._batch += 1
        self._facts.put_nowait(
            Batch(
                payloads=[Raw(json.dumps(data).encode())],
                refused={},
                at=self.now(),
                number=self._batch,
                client_id="c1",
                resume=_RESUME,
                confirm=lambda *, useful=True: None,
                subscribed=self.now(),
            )
        )

    def down(self) -> None:
        if self.is_up:
            self.is_up = False
            self._facts.put_nowait(SessionProblem(reason="unauthorized", text="403", retry_in_s=1.0))

    def up(self, restored_by: RestoredBy = RestoredBy.POLL, *, since: Moment | None = None) -> None:
        self.is_up = True
        fact = Subscribed(
            at=self.now(), since=since, restored_by=restored_by, cause=Cause.LOGIN, ack=False, resume=_RESUME
        )
        self._facts.put_nowait(fact)

    async def poll(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            if self.is_up:
                self._facts.put_nowait(Polled(at=self.now(), resume=_RESUME, subscribed=self.now()))

    async def run(self, *, disconnect: bool = False) -> None:
        await asyncio.Event().wait()

    async def facts(self, _take: Callable[[Any], bool]) -> AsyncGenerator[Fact, None]:
        while True:
            yield await self._facts.get()

    def pending(self) -> bool:
        return not self._facts.empty()

    async def end_polling(self) -> None:
        self._facts.put_nowait(PollingEnded(at=self.now(), resume=_RESUME, subscribed=self.now()))

    def rehandshake(self) -> None:
        self.rehandshakes += 1

    async def subscribe_again(self) -> Moment | None:
        return self.now() if self.is_up else None

    def pause_s(self) -> float:
        return 0.0

    def max_silence_s(self) -> float:
        return 100.0


class TeamWorld:
    """One supervisor at work: `async with TeamWorld(site) as world`. A second one goes on from the first's journal."""

    def __init__(
        self,
        *,
        team: Team | None = None,
        journal: MemoryJournal | None = None,
        site: Site | None = None,
        **options: Any,
    ) -> None:
        self.host = virtual_host(boot_id="b")
        self.site = site or Site(self.host, **options)
        self.team = team or Team(agents=("agent1", "agent2", "agent3"))
        self.journal = journal or MemoryJournal()
        self.rest = Rest(self.site)
        self.metrics = Metrics()
        self.wire = Wire(self.host)

    async def __aenter__(self) -> Self:
        await self.journal.open()
        saved = (await self.journal.sessions(None)).get(NAME)
        self._build(saved)
        self._tasks = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("recorder", self.recorder.run()),
                ("receiver", self.receiver.run()),
                ("polls", self.wire.poll()),
            )
        ]
        self.site.listener = self.wire
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.journal.close()
        assert kind is not None or all(one is None or isinstance(one, asyncio.CancelledError) for one in results)

    def _build(self, saved: SessionState | None) -> None:
        chats = TeamChats()
        decoder = TeamDecoder(NotificationDecoder(keys=(KEY,)), chats)
        self.recorder = Recorder(
            journal=self.journal, metrics=self.metrics, source="s", type_prefix="p", host=self.host
        )
        self.monitoring = Monitoring(
            account=NAME, team=self.team, services=self.rest, chats=chats, metrics=self.metrics, host=self.host
        )
        self.receiver = SupervisorReceiver(
            monitoring=self.monitoring,
            identity=Identity(account=NAME, url=URL, topics={"chat": "/v2/me/chats"}),
            client=self.wire,
            decoder=decoder,
            record=self.recorder.record,
            submit=self.recorder.submit,
            rest=self.rest,
            reconciler=Reconciler(
                account=NAME,
                rest=self.rest,
                decoder=decoder,
                record=self.recorder.record,
                differences=self.recorder.differences,
                metrics=self.metrics,
                clock=self.host.clock,
                interval_s=300.0,
                uniform=self.host.random.uniform,
            ),
            cookies=lambda: (),
            saved=saved,
            metrics=self.metrics,
            options=ReceiverOptions(resubscribe_s=300.0),
            host=self.host,
        )

    async def begin(self, restored_by: RestoredBy = RestoredBy.HANDSHAKE) -> None:
        """Log in, or go on with the login there was, and subscribe."""
        if restored_by is RestoredBy.HANDSHAKE:
            self.rest.log_in()
            self.monitoring.logged_in()
        self.wire.up(restored_by)
        await asyncio.sleep(2.0)

    async def lose_login(self, for_s: float) -> None:
        """The server forgets the login; polls fail for so long, and are granted again after another one."""
        lost = self.wire.now()
        self.site.living.clear()
        self.wire.down()
        await asyncio.sleep(for_s)
        self.rest.log_in()
        self.monitoring.logged_in()
        self.wire.up(since=lost)

    async def events(self) -> list[dict[str, Any]]:
        """The data of all events, with their kind."""
        found = await self.journal.read(0, 10_000)
        return [json.loads(event.data) | {"kind": event.kind} for event in found]

    async def gaps(self) -> list[dict[str, Any]]:
        """The data of the gaps."""
        return [one for one in await self.events() if one["kind"] is Kind.GAP]

    async def missing(self) -> list[tuple[int, str, str, str]]:
        """What was set, and is neither recorded nor in a gap of its agent or of the team."""
        events = await self.events()
        recorded = {(one["chatId"], one["disposition"]) for one in events if one["kind"] is Kind.DISPOSITION}
        gaps = [one for one in events if one["kind"] is Kind.GAP]

        def is_covered(at_ms: int, agent: str) -> bool:
            return any(
                one.get("agent") in (None, agent) and epoch_ms(one["from"]) <= at_ms <= epoch_ms(one["to"])
                for one in gaps
            )

        return [
            (at_ms, agent, chat, code)
            for at_ms, agent, chat, code in self.site.said
            if (chat, code) not in recorded and not is_covered(at_ms, agent)
        ]
