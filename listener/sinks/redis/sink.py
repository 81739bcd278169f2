"""Delivery to a Redis stream, and what must be known of the server for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from listener.errors import Refusal, Reject, Retry
from listener.model.event import Event
from listener.sinks.durability import report
from listener.sinks.redis.answers import moved_to, outcome_of
from listener.sinks.redis.entries import Entry, calls, probe
from listener.sinks.redis.profile import QUESTIONS, Profile, profile_of
from listener.sinks.redis.session import Command, Session, connect
from listener.sinks.redis.settings import RedisSettings
from listener.sinks.registry import SinkContext

_HOPS = 3
_NAME: Command = ("CLIENT", "SETNAME", "disposition-listener")  # where it may


class RedisSink:
    """Appends each batch with one call of a script, which leaves out what it finds there already.

    A connection is made when one is needed and given up after any trouble. Can be opened again after `close`.

    Args:
        context: the sink's surroundings.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: RedisSettings) -> None:
        self._context = context
        self._settings = settings
        self._place = f"{context.setting('url')} {settings.url}"
        self._lock = asyncio.Lock()
        self._deadline: asyncio.Timeout | None = None
        self._session: Session | None = None
        self._profile: Profile | None = None

    async def open(self) -> None:
        """See `ports.Sink`."""
        await self.close()
        async with self._exchange():
            await self._connected()

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. Of a batch that fails anything may be there; brought again, it is there once."""
        async with self._exchange():
            session, profile = await self._connected()
            form = self._context.form
            entries = [Entry(event, form.content_type, form.body(event)) for event in events]
            fitting = {index: entry for index, entry in enumerate(entries) if len(entry.body) <= profile.largest}
            if fitting:
                await self._append(session, profile, list(fitting.values()))
        self._reject_others(len(events), frozenset(fitting), profile)

    async def check(self) -> None:
        """See `ports.Sink`: over a connection of its own."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                session, _ = await self._connect()
                await session.close()
        except (TimeoutError, RedisError) as error:
            raise self._outcome(error) from error

    async def close(self) -> None:
        """See `ports.Sink`. A delivery that is under way ends at once."""
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())
        async with self._lock:
            await self._give_up()

    @contextlib.asynccontextmanager
    async def _exchange(self) -> AsyncIterator[None]:
        """One at a time, within `timeout_s`; trouble becomes an outcome and costs the connection."""
        async with self._lock:
            try:
                async with asyncio.timeout(self._settings.timeout_s) as self._deadline:
                    yield
            except BaseException as error:
                await self._give_up()
                if isinstance(error, TimeoutError | RedisError):
                    raise self._outcome(error) from error
                raise
            finally:
                self._deadline = None

    def _outcome(self, error: TimeoutError | RedisError) -> Exception:
        if isinstance(error, RedisError):
            return outcome_of(self._place, error)
        return Retry(f"{self._place}: no answer within {self._settings.timeout_s} s, or closed meanwhile")

    async def _give_up(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _connected(self) -> tuple[Session, Profile]:
        if self._session is None or self._profile is None:
            session, profile = await self._connect()
            if profile != self._profile:
                self._report(profile)
            self._session, self._profile = session, profile
        return self._session, self._profile

    async def _connect(self) -> tuple[Session, Profile]:
        """A connection to the server that has the stream; a cluster's node names it where it is another."""
        address = self._settings.address
        for _ in range(_HOPS):
            session = await connect(self._context, self._settings, address)
            try:
                _, probed, *answers = await session.ask(_NAME, probe(self._settings), *QUESTIONS)
                elsewhere = moved_to(probed)
                if elsewhere is None:
                    return session, self._usable(probed, profile_of(answers))
            except BaseException:
                await session.close()
                raise
            await session.close()
            address |= elsewhere
        raise Retry(f"{self._place}: the nodes of the cluster do not agree on who has the stream")

    def _usable(self, probed: Any, profile: Profile) -> Profile:
        if isinstance(probed, ResponseError):
            raise probed
        if profile.is_replica:
            raise Retry(f"{self._place}: is a replica, which takes no writes")
        return profile

    async def _append(self, session: Session, profile: Profile, entries: Sequence[Entry]) -> None:
        waiting = self._waiting(profile)
        for call in calls(self._settings, entries):
            appended, *reached = await session.ask(call, *waiting)
            for answer in (appended, *reached):
                if isinstance(answer, ResponseError):
                    raise answer
            self._check_reached(reached)

    def _waiting(self, profile: Profile) -> list[Command]:
        """What is asked behind a call and answered once replicas, and the disk, have what it wrote."""
        limit_ms = max(1, int(self._settings.timeout_s * 500))
        waiting: list[Command] = []
        if self._settings.wait_replicas:
            waiting.append(("WAIT", self._settings.wait_replicas, limit_ms))
        if profile.waits_for_fsync(self._settings):
            waiting.append(("WAITAOF", 1, 0, limit_ms))
        return waiting

    def _check_reached(self, reached: list[Any]) -> None:
        for answer in reached:
            if isinstance(answer, list) and answer[0] < 1:
                raise Retry(f"{self._place}: what was written is not on its disk yet")
            if isinstance(answer, int) and answer < self._settings.wait_replicas:
                text = f"{answer} of wait_replicas = {self._settings.wait_replicas} replicas have what was written"
                raise Retry(f"{self._place}: {text}")

    def _reject_others(self, count: int, delivered: frozenset[int], profile: Profile) -> None:
        """Raise Reject for what was not fit to be sent, if there is any."""
        refusal = Refusal(f"{self._place}: takes no value of more than {profile.largest} bytes (proto-max-bulk-len)")
        rejected = {index: refusal for index in range(count) if index not in delivered}
        if rejected:
            raise Reject(min(rejected), refusal.reason, rejected=rejected, delivered=delivered)

    def _report(self, profile: Profile) -> None:
        report(
            self._context,
            destination=f"{self._settings.url}, stream {self._settings.stream}",
            risks=tuple(profile.risks(self._settings)),
            version=profile.version,
            appendonly=profile.appendonly,
            appendfsync=profile.appendfsync,
            waits_for_fsync=profile.waits_for_fsync(self._settings),
            replicas=profile.replicas,
            wait_replicas=self._settings.wait_replicas,
            maxlen=self._settings.maxlen,
        )
