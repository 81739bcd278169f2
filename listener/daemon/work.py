"""The duties of this process at work: what is given begins, what is wanted back comes to rest and is released."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial

import structlog

from listener.config.settings import Settings
from listener.daemon.accounts import Accounts, Spawn
from listener.daemon.duties import named, offers_of
from listener.daemon.failures import Patience
from listener.daemon.lanes import SinkLanes
from listener.daemon.reloading import Changes as Differences
from listener.delivery import Lane
from listener.errors import ConfigError, JournalError, JournalFenced
from listener.model.replica import ACCOUNT, HOUSEKEEPING, LANE, Order
from listener.ports import Duties

_log = structlog.get_logger(__name__)

_AGAIN_S = 1.0


class Work:
    """Begins and ends accounts and lanes as the duties of this process come and go; others continue undisturbed.

    Args:
        duties: open.
        accounts: none of them built.
        lanes: none of them started.
        settings: the configuration.
        settled: returns once whatever accounts have left to be recorded is, or never will be.
        in_force: told the configuration that is in force from now on: no lane runs that it does not have.
        patience: nobody else may do what is not released, nor does anybody what is not begun.
    """

    def __init__(
        self,
        *,
        duties: Duties,
        accounts: Accounts,
        lanes: SinkLanes,
        settings: Settings,
        settled: Callable[[], Awaitable[None]],
        in_force: Callable[[Settings], None] = lambda _: None,
        patience: Patience,
    ) -> None:
        self._duties = duties
        self._accounts = accounts
        self._lanes = lanes
        self._settled = settled
        self._in_force = in_force
        self._patience = patience
        self._configure(settings)
        self._turn = asyncio.Lock()
        self._leaving: set[str] = set()
        self._is_leaving = self._has_left = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._obeying: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def _configure(self, settings: Settings) -> None:
        self._settings = settings
        self._configured = {one.username: one for one in settings.listening_accounts()}
        self._in_force(settings)

    def keeps_house(self) -> bool:
        """Whether housekeeping is a duty of this process."""
        return HOUSEKEEPING in self._duties.held and HOUSEKEEPING not in self._leaving

    async def run(self, spawn: Spawn) -> None:
        """Follow the duties until cancelled. Raises JournalFenced."""
        await self._patience.persist("offer", lambda: self._duties.offer(offers_of(self._settings)))
        while True:
            try:
                changes = await self._duties.changes()
            except JournalFenced:
                if self._has_left:
                    return
                raise
            await self._patience.persist("begin", partial(self._begin, changes.given, spawn))
            self._give_back(changes.wanted_back, spawn)
            self._obey(changes.orders, spawn)

    # --- given ------------------------------------------------------------------------------------------------------

    async def _begin(self, given: Sequence[str], spawn: Spawn) -> None:
        """Begin what is not at work yet. Raises JournalError: nothing is lost by another attempt.

        What is given while all of it is left to others is theirs, just as it was found.
        """
        async with self._turn:
            accounts, lanes = named(ACCOUNT, given), named(LANE, given)
            await self._accounts.build(self._configured[name] for name in accounts if name in self._configured)
            if self._is_leaving:
                return
            self._begin_lanes([name for name in lanes if name in self._settings.sinks], spawn)
            self._accounts.start(spawn)
            gone = [ACCOUNT + name for name in accounts if name not in self._configured]
            gone += [LANE + name for name in lanes if name not in self._settings.sinks]
        self._give_back(gone, spawn)  # of a configuration that was replaced meanwhile

    def _begin_lanes(self, names: Collection[str], spawn: Spawn) -> None:
        new = [name for name in names if name not in self._lanes.running]
        try:
            self._lanes.start(self._lanes.build(self._settings, new), spawn)
        except ConfigError as exc:  # a file that is named is away for the moment
            problems = [str(problem) for problem in exc.problems]
            _log.error("sinks_not_started", sinks=new, problems=problems, effect="tried until they can be")
            self._keep(spawn("sinks to start", self._begin_lanes_later(new, spawn)))

    async def _begin_lanes_later(self, names: Collection[str], spawn: Spawn) -> None:
        await asyncio.sleep(_AGAIN_S)
        async with self._turn:
            mine = set(named(LANE, self._duties.held)) - set(named(LANE, self._leaving))
            self._begin_lanes([name for name in names if name in mine and name in self._settings.sinks], spawn)

    # --- wanted back ------------------------------------------------------------------------------------------------

    def _give_back(self, duties: Sequence[str], spawn: Spawn) -> None:
        """What is asked for again while it comes to rest is on its way."""
        new = [duty for duty in duties if duty not in self._leaving]
        if new:
            self._leaving.update(new)
            self._keep(spawn("hand-over", self._hand_over(new)))

    async def _hand_over(self, duties: Sequence[str]) -> None:
        """Come to rest with duties, and release them.

        An account that did not in time may have left something to be recorded: after its release that would replace
        what the next owner has stored by then.
        """
        timeout_s = self._settings.shutdown_timeout_s
        await asyncio.gather(
            self._accounts.end(named(ACCOUNT, duties), timeout_s=timeout_s), self._rest_lanes(named(LANE, duties))
        )
        try:
            await self._settled()
            await self._patience.persist("release", lambda: self._duties.release(duties))
        except JournalFenced:
            if not self._has_left:
                raise
        self._leaving.difference_update(duties)

    async def _rest_lanes(self, names: Sequence[str]) -> None:
        async with self._turn:
            await self._lanes.rest(names)

    async def leave(self, *, timeout_s: float) -> None:
        """Come to rest with everything, and leave it to others; what takes longer than `timeout_s` is cut off."""
        self._is_leaving = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._patience.persist("offer", lambda: self._duties.offer(()))  # so nothing new is given
                await asyncio.gather(self._accounts.stop(), self._lanes.rest(list(self._lanes.running)))
        except TimeoutError:
            _log.warning("not_at_rest", effect="others take over as from a process that has died")
            self._accounts.abandon()
            await self._lanes.end(list(self._lanes.running))
        self._has_left = True
        await self._duties.leave()
        for task in self._under_way:  # they wait for what is ending too
            task.cancel()

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Know of a task until it is done."""
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    # --- orders and another configuration ---------------------------------------------------------------------------

    def _obey(self, orders: Sequence[Order], spawn: Spawn) -> None:
        for order in orders:
            _log.info("order_received", sink=order.duty.removeprefix(LANE), what=order.what)
            self._keep(spawn(f"order for {order.duty}", self._carry_out(order)))

    async def _carry_out(self, order: Order) -> None:
        """Carry an order out, behind those before it, and only then let it be forgotten.

        It waits for a lane that does not run yet, and for the journal. It stays for whoever has the duty next.
        """
        async with self._obeying[order.duty]:
            while order.duty in self._duties.held and order.duty not in self._leaving:
                try:
                    async with self._turn:
                        is_done = await _obeyed(order, self._lanes.running)
                except JournalError as exc:
                    _log.warning("order_delayed", sink=order.duty.removeprefix(LANE), what=order.what, error=str(exc))
                    is_done = False
                if is_done:
                    self._duties.carried_out(order)
                    return
                await asyncio.sleep(_AGAIN_S)

    async def apply(self, settings: Settings, changes: Differences, spawn: Spawn) -> None:
        """Put another configuration in force: restart what is changed, end what is gone.

        Raises:
            ConfigError: the new one cannot be used; nothing has changed.
        """
        async with self._turn:
            lanes = self._lanes.build(settings, changes.sinks_started)
            await self._lanes.end(changes.sinks_ended)
            self._configure(settings)
            await self._patience.persist("offer", lambda: self._duties.offer(offers_of(settings)))
            held = set(self._duties.held) - self._leaving
            self._lanes.start({name: lane for name, lane in lanes.items() if LANE + name in held}, spawn)
            accounts = [name for name in changes.accounts if ACCOUNT + name in held]
            teams = [name for name in changes.teams_changed if ACCOUNT + name in held]
            await self._accounts.apply(settings, accounts, spawn, teams=teams, timeout_s=settings.shutdown_timeout_s)
        gone = [
            *(LANE + name for name in changes.sinks_removed),
            *(ACCOUNT + name for name in changes.accounts_removed),
        ]
        gone = [duty for duty in gone if duty in held]
        if self._duties.is_shared:
            self._give_back(gone, spawn)
        else:  # nobody waits for it, and the next configuration may have it again before anything can be stored
            await self._duties.release(gone)

    async def exchange(self, names: Collection[str], spawn: Spawn) -> None:
        """Restart these lanes: files that their settings name have changed. Raises ConfigError: the old ones go on."""
        async with self._turn:
            await self._lanes.exchange(self._settings, [name for name in names if name in self._lanes.running], spawn)


async def _obeyed(order: Order, lanes: Mapping[str, Lane]) -> bool:
    """Whether an order was carried out; what is not known here was left by a later version. Raises JournalError."""
    lane = lanes.get(order.duty.removeprefix(LANE))
    if lane is None:
        return not order.duty.startswith(LANE)
    match order.what.split():
        case ["resume"]:
            _ = lane.resume(by_command=True) or lane.try_now()
        case ["replay"]:
            lane.replay()
        case ["resend", after, through]:
            await lane.resend(int(after), int(through))
        case ["resend-cancel"]:
            await lane.cancel_resend()
    return True
