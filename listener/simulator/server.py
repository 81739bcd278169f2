"""The simulated Web Services node: its parts put together behind one real HTTP port."""

import os
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import msgspec
import structlog
from aiohttp import web

from listener.errors import StartError
from listener.runtime.host import THIS_HOST, Host
from listener.simulator.bayeux import Bayeux, Wake
from listener.simulator.control import PREFIX, Control
from listener.simulator.faults import Faults
from listener.simulator.logins import Logins
from listener.simulator.longpoll import LongPolling
from listener.simulator.media import CHAT, MEDIA, ChatState
from listener.simulator.operations import Desk, Published
from listener.simulator.options import SimulatorOptions
from listener.simulator.rest import Rest
from listener.simulator.state import FIRST_CHAT, ContactCenter
from listener.simulator.supervision import Supervision, supervisors_of
from listener.simulator.wire import Call, Reply, read, write

_LARGEST_REQUEST_BYTES = 64 * 2**20
_SHUTDOWN_S = 0.5

log = structlog.get_logger(__name__)


class Simulator:
    """A Web Services look-alike on a real port: `async with Simulator(options) as sim`.

    It starts with `agent1` in one chat, 0000Na9B26EF003M. Stopping forgets logins and CometD sessions, as a restarted
    node would; chats stay, and a second start takes the same port.
    """

    def __init__(self, options: SimulatorOptions | None = None, *, host: Host = THIS_HOST) -> None:
        self.options = options or SimulatorOptions()
        self.center = ContactCenter(agents=self.options.agents)
        supervisors = supervisors_of(self.options)
        everybody = ChainMap(self.center.agents, supervisors)
        self._logins = Logins(options=self.options, users=everybody, host=host)
        self.supervision = Supervision(
            center=self.center,
            publish=self.publish,
            options=self.options,
            clock_ms=host.clock.now_ms,
            lives=self._logins.lives,
            users=supervisors,
        )
        self._bayeux = Bayeux(options=self.options, may_hear=self._logins.may_hear, host=host)
        self.desk = Desk(
            center=self.center,
            publish=self.publish,
            options=self.options,
            clock_ms=host.clock.now_ms,
            supervision=self.supervision,
        )
        self._faults = Faults()
        self._rest = Rest(
            center=self.center,
            desk=self.desk,
            logins=self._logins,
            options=self.options,
            supervision=self.supervision,
        )
        self._polling = LongPolling(bayeux=self._bayeux, faults=self._faults, options=self.options, host=host)
        self._control = Control(
            center=self.center,
            logins=self._logins,
            bayeux=self._bayeux,
            faults=self._faults,
            supervision=self.supervision,
        )
        self._runner: web.AppRunner | None = None
        self._port = self.options.port
        if self.options.agents > 0:
            self.add_chat(FIRST_CHAT, agents=["agent1"])

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def port(self) -> int:
        """The TCP port; 0 before the first start if a free one was asked for."""
        return self._port

    @property
    def url(self) -> str:
        """Where the server is."""
        host = f"[{self.options.host}]" if ":" in self.options.host else self.options.host
        return f"http://{host}:{self._port}"

    @property
    def ledger(self) -> list[Published]:
        """Every PropertiesUpdated (of a call AttachedDataChanged) so far, oldest first; no raw `publish`. A copy."""
        return list(self.desk.ledger)

    async def start(self) -> None:
        """Open the port. Raises StartError when it cannot be opened."""
        app = web.Application(client_max_size=_LARGEST_REQUEST_BYTES)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.options.host, self._port).start()
        except OSError as exc:
            await runner.cleanup()
            why = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror  # asyncio wraps the words
            raise StartError(f"port: cannot listen on {self.options.host}:{self._port}: {why}") from exc
        self._runner = runner
        self._port = self._port or runner.addresses[0][1]
        log.info("simulator_started", url=self.url, agents=self.options.agents)

    async def stop(self) -> None:
        """Reset held polls, close the port, forget logins and CometD sessions. Idempotent."""
        runner, self._runner = self._runner, None
        self._bayeux.remove_all(Wake.STOPPED)
        self._logins.end_all()
        if runner is not None:
            await runner.cleanup()
            self._bayeux.remove_all(Wake.STOPPED)
            log.info("simulator_stopped", url=self.url)

    def add_chat(
        self,
        chat_id: str,
        agents: Sequence[str] = ("agent1",),
        *,
        state: str = "Chatting",
        user_data: Mapping[str, Any] | None = None,
        medium: str = CHAT.name,
    ) -> str:
        """A chat of these agents; nobody is told. Raises NotFound (agent), ParameterInvalid (id in use).

        With `medium` it is an email or a call (`voice`). Returns what `set_disposition` and `operate` know it by: the
        id of a chat, `email:ID`, `voice:ID`.
        """
        data = dict(user_data or {})
        return self.center.add_chat(chat_id, agents, state=ChatState(state), user_data=data, medium=MEDIA[medium]).key

    def set_disposition(self, agent: str, chat_id: str, code: str, key: str | None = None) -> Published | None:
        """SetDisposition as this agent, by the same road as over HTTP. Raises NotFound, ParameterInvalid.

        None for a call that the agent has released: nobody hears of it.
        """
        return self.desk.set_disposition(agent, chat_id, code, key, base_url=self.url)

    def operate(self, agent: str, chat_id: str, operation: str, **parameters: Any) -> Published | None:
        """Any chat operation as this agent; parameters as in its request.

        Returns the Published entry of the ledger, None for operations without PropertiesUpdated. Raises as
        `Desk.perform` does.
        """
        return self.desk.perform(agent, chat_id, {"operationName": operation, **parameters}, base_url=self.url)

    def publish(
        self, agent: str, data: Mapping[str, Any] | Sequence[Any] | bytes | None, channel: str = CHAT.topic
    ) -> int:
        """Put raw data on one of the agent's channels; returns how many sessions took it.

        `bytes` go out as they are, well-formed or not; anything else is encoded. `all` means every agent.
        """
        text = data if isinstance(data, bytes) else msgspec.json.encode(data)
        users = tuple(self.center.agents) if agent == "all" else (agent,)
        return sum(self._bayeux.publish(user, channel, msgspec.Raw(text)) for user in users)

    def subscribed(self, agent: str, media: Sequence[str] = (CHAT.name,)) -> bool:
        """Whether one of the agent's CometD sessions would hear an event of any of these media now."""
        return any(
            all(session.hears(MEDIA[name].topic) for name in media) and self._logins.may_hear(session.login)
            for session in self._bayeux.sessions_of(agent)
        )

    async def next_subscription(self) -> None:
        """Wait until some CometD session subscribes to something."""
        await self._bayeux.next_subscription()

    def polling(self, agent: str) -> bool:
        """Whether one of the agent's CometD sessions holds a poll now."""
        return any(session.held is not None for session in self._bayeux.sessions_of(agent))

    def control(self, order: str, **members: Any) -> Mapping[str, Any]:
        """An order of the control endpoint, from within the process: `sim.control("drop", count=2)`.

        Raises KeyError for an unknown order, msgspec.ValidationError for wrong members.
        """
        return self._control.execute(order, msgspec.json.encode(members))

    def state(self) -> Mapping[str, Any]:
        """What `GET /control/state` answers."""
        return self._control.state()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        call = await read(request)
        control = call.path.startswith(PREFIX)
        return await write(request, self._control.handle(call) if control else await self._serve(call))

    async def _serve(self, call: Call) -> Reply:
        failure = self._faults.before(call)
        if failure is not None:
            return failure
        admission = self._logins.admit(call)
        if admission.refusal is not None:
            reply = admission.refusal
        elif call.notifications and admission.session is not None:
            reply = await self._polling.handle(call, admission.session)
        else:
            reply = self._rest.handle(call, admission.session)
        dressed = replace(
            reply, headers=(*reply.headers, *admission.headers), cookies=(*admission.cookies, *reply.cookies)
        )
        return await self._faults.after(call, dressed)
