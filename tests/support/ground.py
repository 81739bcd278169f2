"""Several replicas as real processes over one PostgreSQL and one simulator, under a stream of which a ledger is kept.

async with Ground(tmp_path, postgres=server, accounts=9) as ground:
    await ground.start()
    async with ground.stream(rate=200):
        holder = ground.replicas["a"]
        loss = await ground.lose(holder, holder.kill)       # how long until others had what it had
        await holder.start()
        await ground.fair()
    await ground.drain()
    assert ground.problems() == []
"""

import asyncio
import contextlib
import math
import secrets
import signal
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

from listener.errors import JournalError, JournalUncertain
from listener.journal.postgres.database import PostgresDatabase
from listener.journal.postgres.options import PostgresOptions
from listener.model.replica import ACCOUNT, LANE
from listener.simulator import Simulator, SimulatorOptions
from listener.simulator.wire import Call, Reply
from support.books import Book, Till, differences
from support.broker import is_stopped
from support.config import write_config
from support.eventually import PATIENCE_S, eventually
from support.ledger import KEY, Publication, Publisher
from support.oracle import Promise, Verdict, judge
from support.postgresserver import PostgresServer
from support.process import Daemon

NAMES = ("a", "b", "c")
SINK = "crm"
CHATS = 5  # of each agent
TICK_S = 0.01
FOLLOW_S = 0.02
UNDER_WAY_S = 0.05  # what a process sent before it stood still has arrived by then
BEHIND = 1000  # events in the journal that are not at the sink: a machine that is no faster gets no more


# Who wrote is what the connection is called, which the statements themselves know nothing of.
_WITNESS = """
CREATE TABLE {schema}.witness (
    what text NOT NULL,
    who  text NOT NULL DEFAULT current_setting('application_name'),
    at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION {schema}.wrote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.witness (what) VALUES (TG_TABLE_NAME);
    RETURN NULL;
END
$$;
CREATE FUNCTION {schema}.went() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.witness (what, who) VALUES ('gone', 'disposition-listener/' || OLD.incarnation);
    RETURN NULL;
END
$$;
CREATE TRIGGER wrote AFTER INSERT OR UPDATE ON {schema}.event FOR EACH STATEMENT EXECUTE FUNCTION {schema}.wrote();
CREATE TRIGGER wrote AFTER INSERT OR UPDATE ON {schema}.session FOR EACH STATEMENT EXECUTE FUNCTION {schema}.wrote();
CREATE TRIGGER wrote AFTER INSERT OR UPDATE ON {schema}.sink_cursor
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.wrote();
CREATE TRIGGER went AFTER DELETE ON {schema}.replica FOR EACH ROW EXECUTE FUNCTION {schema}.went();
"""
_WROTE = """
SELECT count(*) FROM {schema}.witness w
JOIN {schema}.replica r ON w.who = 'disposition-listener/' || r.incarnation
WHERE w.what = 'event' AND r.name = '{name}'
"""
_LATE = """
SELECT count(*) FILTER (WHERE w.at <= g.at), count(*) FILTER (WHERE w.at > g.at)
FROM {schema}.witness g JOIN {schema}.witness w ON w.who = g.who AND w.what <> 'gone'
WHERE g.what = 'gone'
"""


class WatchedSimulator(Simulator):
    """Notes when the CometD requests of each agent arrive (monotonic seconds)."""

    def __init__(self, options: SimulatorOptions) -> None:
        super().__init__(options)
        self.asked: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=1000))
        answer = self._polling.handle

        async def noted(call: Call, login: Any) -> Reply:
            self.asked[str(login.user)].append(time.monotonic())
            return await answer(call, login)

        self._polling.handle = noted

    def first_asked(self, agent: str, *, after_s: float) -> float | None:
        """When the first request after a moment came; None before it does."""
        return next((at for at in self.asked[agent] if at > after_s), None)


class TimedTill(Till):
    """Notes when each event came first (monotonic seconds)."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, float] = {}

    def _enter(self, body: bytes) -> None:
        before = len(self.hashes)
        super()._enter(body)
        if len(self.hashes) > before:
            self.came[next(reversed(self.hashes))] = time.monotonic()


class Heard(NamedTuple):
    """A publication on its way: when it was published, when it was seen in the journal (monotonic s), and its id."""

    published_s: float
    committed_s: float
    event_id: str


class Loss(NamedTuple):
    """How long what a replica had was nobody's, in seconds from its loss.

    `polled` and `committed` are by account: until somebody else asked the server for it, and until a disposition that
    was published since was seen in the journal. `delivered` is the same for the sink if it had its lane, else None.
    """

    polled: dict[str, float]
    committed: dict[str, float]
    delivered: float | None

    @property
    def last_poll(self) -> float:
        return max(self.polled.values(), default=0.0)

    @property
    def whole(self) -> float:
        """Until everything was done again."""
        return max([*self.polled.values(), *self.committed.values(), self.delivered or 0.0])


class Replica:
    """One of them: a folder, a configuration, and the process that runs now."""

    def __init__(self, name: str, config: Path, env: Mapping[str, str] | None) -> None:
        self.name = name
        self.daemon: Daemon
        self.runs = False
        self._config = config
        self._env = env

    async def start(self) -> Daemon:
        """A new process; does not wait for anything."""
        self.daemon = Daemon(self._config, env=self._env)
        await self.daemon.start()
        self.runs = True
        return self.daemon

    async def kill(self) -> None:
        """SIGKILL."""
        self.runs = False
        await self.daemon.kill()

    async def stop(self) -> None:
        """SIGTERM; it has to end well."""
        self.runs = False
        self.daemon.send_signal(signal.SIGTERM)
        status = await self.daemon.wait()
        assert status == 0, self.daemon.output()

    async def freeze(self) -> None:
        """Every thread of it stands still when this returns."""
        self.runs = False
        self.daemon.send_signal(signal.SIGSTOP)
        await eventually(lambda: is_stopped(self.daemon.pid))

    def thaw(self) -> None:
        """It goes on, and knows nothing of it."""
        self.daemon.send_signal(signal.SIGCONT)
        self.runs = True


class Ground:
    """As a context manager simulator, receiver and an observer of the database run; `start` starts the replicas.

    Args:
        folder: for the replicas' configurations.
        postgres: shared with others: there is a schema for each ground.
        names: of the replicas.
        accounts: how many agents, each an account.
        ack: whether the server grants acknowledgements.
        max_interval_ms: how long the server keeps a session that does not poll.
        port: where PostgreSQL is found, if not where it listens.
        ports: the same for single replicas.
        env: more of a replica's environment.
        journal: more of the table `[journal]`.
        more: more tables.
    """

    def __init__(
        self,
        folder: Path,
        *,
        postgres: PostgresServer,
        names: Sequence[str] = NAMES,
        accounts: int = 9,
        ack: bool = True,
        max_interval_ms: int = 60_000,
        port: int | None = None,
        ports: Mapping[str, int] | None = None,
        env: Mapping[str, Mapping[str, str]] | None = None,
        journal: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.postgres = postgres
        self.schema = f"listener_{secrets.token_hex(4)}"
        self.accounts = [f"agent{number}" for number in range(1, accounts + 1)]
        options = SimulatorOptions(agents=accounts, ack=ack, timeout_ms=1000, max_interval_ms=max_interval_ms)
        self.simulator = WatchedSimulator(options)
        self.till = TimedTill()
        self.book = Book()
        self.replicas: dict[str, Replica] = {}
        self.database: PostgresDatabase
        self.heard: dict[str, deque[Heard]] = defaultdict(lambda: deque(maxlen=1000))
        self.publishers = [self._publisher(agent) for agent in self.accounts]
        self._published_s: dict[tuple[str, str], float] = {}
        self._folder = folder
        self._names = names
        self._port = port or postgres.port
        self._ports = ports or {}
        self._env = env or {}
        self._journal = journal or {}
        self._more = more
        self._owned = contextlib.AsyncExitStack()

    def _publisher(self, agent: str) -> Publisher:
        chats = [f"{agent}-{number}" for number in range(CHATS)]
        for chat in chats:
            self.simulator.add_chat(chat, [agent])

        async def send(_number: int, chat: str, value: str) -> int:
            self._published_s[agent, value] = time.monotonic()
            return self.simulator.set_disposition(agent, chat, value, KEY).reference_id

        return Publisher(send, chats=chats, agent=agent)

    async def __aenter__(self) -> Self:
        await self._owned.enter_async_context(self.simulator)
        await self._owned.enter_async_context(self.till)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for replica in self.replicas.values():
            await replica.kill()
        await self._owned.aclose()

    def _table(self, name: str) -> dict[str, Any]:
        """The table `[journal]` of a replica."""
        port = self._ports.get(name, self._port)
        address = {"url": f"postgresql://127.0.0.1:{port}/postgres", "username": "admin", "tls": False}
        return {"path": None, **address, "schema": self.schema, "replica": name, **self._journal}

    def add(self, name: str) -> Replica:
        """One more replica, not yet started."""
        folder = self._folder / name
        folder.mkdir()
        password = self.simulator.options.password
        waiting = {"poll_margin_s": 2.0, "connect_timeout_s": 2.0, "request_timeout_s": 5.0}
        config = write_config(
            folder,
            server={"url": self.simulator.url, **waiting},
            accounts=[{"username": account, "password": password} for account in self.accounts],
            webhook=f"{self.till.url}/crm",
            **{
                "journal": self._table(name),
                "sinks": {"audit": None, SINK: {"retry_limit_s": 2.0, "timeout_s": 3.0, "concurrency": 8}},
                "http": {"listen": "127.0.0.1:0"},
                **self._more,
            },
        )
        replica = self.replicas[name] = Replica(name, config, self._env.get(name))
        return replica

    async def start(self) -> None:
        """Start all replicas, and return once all accounts are subscribed and evenly shared."""
        await self._observe()
        for name in self._names:
            await self.add(name).start()
        await self.fair()

    async def _observe(self) -> None:
        """Make the schema, with a witness of who writes, and follow the journal to the end, past every outage."""
        options = PostgresOptions(
            host="127.0.0.1", port=self._port, database="postgres", username="admin", schema=self.schema
        )
        database = self.database = PostgresDatabase(options)
        await database.open()
        self._owned.push_async_callback(database.close)
        await self.postgres.execute(_WITNESS.format(schema=self.schema), port=self._port)

        async def follow() -> None:
            while True:
                with contextlib.suppress(JournalError, JournalUncertain):
                    await self.read_on()
                await asyncio.sleep(FOLLOW_S)

        follower = asyncio.create_task(follow(), name="follower")

        async def end() -> None:
            follower.cancel()
            await asyncio.wait((follower,))

        self._owned.push_async_callback(end)

    async def late_writes(self) -> tuple[int, int]:
        """How many events, cursors and sessions were written by replicas that are gone: before it, and after."""
        ((before, after),) = await self.postgres.fetch(_LATE.format(schema=self.schema), port=self._port)
        return before, after

    async def has_written(self, name: str) -> None:
        """Wait until an event was stored by the incarnation of a replica that is there now. Needs a stream."""
        wrote = _WROTE.format(schema=self.schema, name=name)

        async def some() -> bool:
            ((events,),) = await self.postgres.fetch(wrote, port=self._port)
            return events > 0

        await eventually(some, timeout_s=PATIENCE_S, interval_s=0.05, what=self.replicas[name].daemon.output)

    async def read_on(self) -> None:
        """Take into the book what is new in the journal."""
        while events := await self.database.read(self.book.sequence, 500):
            now_s = time.monotonic()
            for event in events:
                if event.sequence != self.book.sequence + 1:
                    self.book.problems.append(f"behind {self.book.sequence} comes {event.sequence}")
                record = self.book.enter(event.to_json())
                if record is None:
                    self.book.problems.append(f"the id of {event.sequence} was there before")
                elif (value := record["data"].get("disposition")) is not None:
                    published_s = self._published_s.pop((event.account, value), None)
                    if published_s is not None:
                        self.heard[event.account].append(Heard(published_s, now_s, event.id))

    # --- who has what -----------------------------------------------------------------------------------------------

    async def owners(self) -> dict[str, str | None]:
        """The replica that has each duty."""
        return {duty.duty: duty.replica for duty in await self.database.duties()}

    async def held(self, name: str) -> list[str]:
        """The accounts that a replica has."""
        return [d.removeprefix(ACCOUNT) for d, owner in (await self.owners()).items() if owner == name and ACCOUNT in d]

    async def incarnations(self) -> dict[str, int]:
        """That of each replica."""
        return {report.name: report.incarnation for report in await self.database.replicas()}

    async def holders(self) -> list[Replica]:
        """Those that run and have an account."""
        owners = {owner for duty, owner in (await self.owners()).items() if duty.startswith(ACCOUNT)}
        return [replica for name, replica in self.replicas.items() if replica.runs and name in owners]

    async def fair(self) -> None:
        """Wait until the replicas that run have all duties, evenly."""
        last: dict[str, str | None] = {}

        async def shared() -> bool:
            with contextlib.suppress(JournalError, JournalUncertain):
                last.clear()
                last.update(await self.owners())
                running = {name for name, replica in self.replicas.items() if replica.runs}
                accounts = Counter(owner for duty, owner in last.items() if duty.startswith(ACCOUNT))
                share = math.ceil(len(self.accounts) / max(1, len(running)))
                whole = accounts.total() == len(self.accounts) and set(last.values()) <= running
                return whole and max(accounts.values()) <= share and await self._listened_for()
            return False

        def standing() -> str:
            return f"{last}\n" + "\n\n".join(replica.daemon.output() for replica in self.replicas.values())

        await eventually(shared, timeout_s=PATIENCE_S, interval_s=0.05, what=standing)

    async def _listened_for(self) -> bool:
        """Whether the session that is on record for each account is one of the server's, and subscribed."""
        on_record = {state.account: state.client_id for state, _ in await self.database.sessions()}
        live = self.simulator.state()["sessions"]
        subscribed = {session["clientId"] for session in live if session["subscriptions"]}
        return all(on_record.get(account) in subscribed for account in self.accounts)

    async def lose(self, replica: Replica, how: Callable[[], Awaitable[object]]) -> Loss:
        """Let a replica be lost, and measure until others do what it did. Needs a stream."""
        owners = await self.owners()
        accounts = [d.removeprefix(ACCOUNT) for d, o in owners.items() if o == replica.name and d.startswith(ACCOUNT)]
        lost_s = time.monotonic()
        await how()
        since_s = time.monotonic() + UNDER_WAY_S
        lane = owners[f"{LANE}{SINK}"] == replica.name
        came_back: dict[str, Any] = {}

        def measured() -> Loss | None:
            polled = {account: self.simulator.first_asked(account, after_s=since_s) for account in accounts}
            committed = {account: self._first_heard(account, since_s) for account in accounts}
            delivered = self._first_delivered(since_s) if lane else lost_s
            came_back.update({"polled": polled, "committed": committed, "delivered": delivered})
            if delivered is None or None in polled.values() or None in committed.values():
                return None
            seconds = ({a: at - lost_s for a, at in moments.items() if at} for moments in (polled, committed))
            return Loss(*seconds, delivered - lost_s if lane else None)

        def standing() -> str:
            others = [other for other in self.replicas.values() if other is not replica]
            came = f"{owners} before, since then (monotonic s): {came_back}"
            return "\n\n".join([came, *(other.daemon.output() for other in others)])

        loss = await eventually(measured, timeout_s=PATIENCE_S, interval_s=0.02, what=standing)
        assert loss is not None
        return loss

    def _first_heard(self, account: str, since_s: float) -> float | None:
        return next((one.committed_s for one in self.heard[account] if one.published_s > since_s), None)

    def _first_delivered(self, since_s: float) -> float | None:
        new = (one for heard in self.heard.values() for one in heard if one.published_s > since_s)
        return min((self.till.came[one.event_id] for one in new if one.event_id in self.till.came), default=None)

    # --- the stream and its books -----------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def stream(self, *, rate: float) -> AsyncIterator[None]:
        """Publish so many a second, going round the agents, while the block runs; fewer where the sink falls behind."""

        async def run() -> None:
            due_s, published = time.monotonic(), 0
            while not over.is_set():
                while due_s < time.monotonic():
                    if len(self.book.hashes) - len(self.till.hashes) > BEHIND:
                        due_s = time.monotonic()
                        break
                    await self.publishers[published % len(self.publishers)].publish()
                    published += 1
                    due_s += 1.0 / rate
                await asyncio.sleep(TICK_S)

        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run(), name="stream")
            try:
                yield
            finally:
                over.set()

    @property
    def ledger(self) -> list[Publication]:
        return [entry for publisher in self.publishers for entry in publisher.ledger]

    async def drain(self) -> None:
        """Wait until the newest of each agent, and at the sink all that is in the journal; as far as they come."""
        last = {(str(p.ledger[-1].agent), p.ledger[-1].value) for p in self.publishers if p.ledger}

        def drained() -> bool:
            return not last & self._published_s.keys() and self.book.hashes.keys() <= self.till.hashes.keys()

        with contextlib.suppress(AssertionError):
            await eventually(drained, timeout_s=PATIENCE_S, interval_s=0.05)

    def verdicts(self, promise: Promise) -> dict[str, Verdict]:
        """Account by account: each hears its own agent alone."""
        return {
            account: judge(publisher.ledger, self.book.records[account], promise=promise, accounts=(account,))
            for account, publisher in zip(self.accounts, self.publishers, strict=True)
        }

    def problems(self, promise: Promise = Promise.NOTHING_MISSING) -> list[str]:
        """What breaks a promise: in the journal, at the sink, and between the two."""
        problems = [*self.book.problems, *self.till.problems, *differences(self.book, self.till)]
        for account, verdict in self.verdicts(promise).items():
            problems += [f"{account}: {problem}" for problem in verdict.problems]
            problems += [f"{account}: {verdict.duplicates} twice in the journal"] if verdict.duplicates else []
        return problems

    def gaps(self) -> list[float]:
        """The length of every gap in the journal, in seconds."""
        stretches = [(gap["from"], gap["to"]) for account in self.accounts for gap in self.book.gaps(account)]
        return [(datetime.fromisoformat(to) - datetime.fromisoformat(since)).total_seconds() for since, to in stretches]

    def report(self) -> str:
        """What there was, for whoever reads the output."""
        verdicts = self.verdicts(Promise.MISSING_ON_RECORD).values()
        seconds = self.gaps()
        reconciled, missing = sum(v.reconciled for v in verdicts), sum(len(v.missing) for v in verdicts)
        return (
            f"{len(self.ledger)} published, {missing} missing, {reconciled} found by re-reading, {len(seconds)} gaps"
            f"{f': {spread(seconds)}' if seconds else ''}"
        )


def spread(seconds: Collection[float]) -> str:
    """The distribution of some durations, for whoever reads the output."""
    values = sorted(seconds)

    def part(share: float) -> float:
        return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]

    return f"n {len(values)}, p50 {part(0.5):.2f} s, p90 {part(0.9):.2f} s, max {values[-1]:.2f} s"
