"""What a database has to do for the replicas that share it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from listener.model.event import (
    DeadLetter,
    DeadLetterFilter,
    Event,
    JournalBatch,
    JournalStats,
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.filter import DeadLetterGroup, DeadLetterPage, EventFilter, Found
from listener.model.replica import Appended, Beaten, DutyReport, Grant, Joined, Offer, ReplicaReport


class Database(Protocol):
    """The one place that decides, by one clock, its own.

    Every call is one transaction that is durable when it returns. A call that names an incarnation (`me`) writes only
    if that is not evicted: the check and the write are one transaction, so that nothing of an evicted replica is
    stored after its eviction, however late it arrives.

    Every call raises:
        JournalUncertain: the answer was lost; it may have been done. Each but `append` and `join` may be repeated as it
            is; `append` is repeated with its number.
        JournalError: it was refused or failed, and nothing was done. The text names server and database, no secret.
        JournalFenced: `me` is evicted or has left; only calls with `me`.
    """

    async def open(self) -> None:
        """Connect; create or migrate the schema; tell in the log how durable its commits are.

        Raises JournalError, with what to do about it: no such server, login refused, a schema that is newer than this
        version can live with.
        """

    async def check(self) -> None:
        """Connect, and change nothing. Raises JournalError where `open` would, as far as that can be told."""

    async def close(self) -> None:
        """Give up all connections. Idempotent; every later call raises JournalError, until it is opened again."""

    # --- replicas ---------------------------------------------------------------------------------------------------

    async def join(self, name: str, *, version: str, lease_s: float) -> Joined:
        """A new incarnation of the replica of this name, alive from now on; an older one of that name is evicted.

        Others evict it once it has not beaten for `lease_s`.
        """

    async def offer(self, me: int, offers: Collection[Offer]) -> None:
        """Replace what the replica could do. A duty exists while any replica that is not evicted offers it.

        What it has and offers no longer stays its own until it is released.
        """

    async def beat(
        self,
        me: int,
        *,
        seen: int,
        taken: Collection[int] = (),
        report: bytes | None = None,
        reports: Mapping[str, bytes] | None = None,
    ) -> Beaten:
        """Tell that the replica lives, and learn what to do.

        Evicts others whose lease is over, if `me` has beaten without a break of a lease for a lease itself:
        after a restart of the database everybody is late. For a lease after a break of its own of more than
        half a lease, others are excused for as long: the same may have held them up. Duties of the evicted are
        free at once. Claims what is free, offered by `me` and may be done by it, up to a fair share of each
        kind: the duties of a kind divided by the replicas that are alive and not draining, rounded up; what
        nobody else could take is claimed whatever that share is: others do not offer it, may not do it, drain,
        or have their share. Asks back at most 10 of a kind above the share that others could take, always the
        same ones until they are released; of one that drains, all of it.

        Args:
            me: the incarnation.
            seen: the highest epoch whose grant has arrived; what was granted later is told (again).
            taken: numbers of orders that were carried out; they are deleted.
            report: JSON about the replica, for whoever asks; None leaves the last.
            reports: JSON about duties of its own, by duty; replaces the last of each.
        """

    async def release(self, me: int, duties: Collection[Grant]) -> None:
        """Give duties back; of one that was granted anew since, by another epoch, nothing changes."""

    async def leave(self, me: int) -> None:
        """The replica is gone in order: what it still has is free, and nothing more is stored for it."""

    async def replicas(self) -> list[ReplicaReport]:
        """Those that are not evicted and have not left, by name."""

    async def duties(self) -> list[DutyReport]:
        """Every duty, by name."""

    async def drain(self, name: str, *, draining: bool) -> bool:
        """Let the replica of a name have nothing more, or as much as others again; False if there is none."""

    async def order(self, duty: str, what: str) -> str | None:
        """Leave an order for whoever has a duty, now or later; returns the replica that has it now."""

    # --- the journal ------------------------------------------------------------------------------------------------

    async def append(
        self,
        me: int,
        number: int,
        batch: JournalBatch,
        revisions: Mapping[str, int],
        seen_ages_ms: Mapping[str, int],
    ) -> Appended:
        """Store a batch whole or not at all; its events get the sequences behind the newest, without a hole.

        They become visible in that order: whoever reads sequence n can read every one below it.

        Args:
            me: the incarnation.
            number: of the call, rising by one from 1 in each incarnation. A number that was answered already stores
                nothing (again): the first answer is given once more, and is as durable as that of a new one. One that
                comes after a higher one is refused.
            batch: `new_chats` is not looked at.
            revisions: per chat that it was classified against, the revision of its last values, 0 for none known.
                Where one differs, nothing is stored and the answer is `stale`.
            seen_ages_ms: per account of `batch.sessions`, how long ago its `seen_ms` is now.

        Raises:
            JournalFull: the database has no room.
        """

    async def begin_above(self, me: int, known: int, top: int, stretch: tuple[int, int]) -> int:
        """Let sequences go on above `top` where no event came up to `known`, which one is known to have been.

        What is between becomes a hole, and the loss is pending until it is settled, whoever dies meanwhile.

        Args:
            me: the incarnation.
            known: of an event that was durable.
            top: the last sequence of the hole.
            stretch: in which what is lost may have come (epoch milliseconds).

        Returns:
            behind which sequence they go on.
        """

    async def losses(self) -> dict[int, tuple[int, int]]:
        """The stretch of each loss that is pending, by the last sequence of its hole, in that order."""

    async def settle_losses(self, me: int, tops: Collection[int]) -> None:
        """The gaps of these losses are on record."""

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """As `ports.Journal.read`."""

    async def search(self, which: EventFilter, *, before: int | None, limit: int) -> Found:
        """As `ports.Journal.search`."""

    async def last_values(self, chat_ids: Collection[str]) -> tuple[list[LastValue], dict[str, int]]:
        """Every last value of these chats, and the revision of each chat that has any."""

    async def sessions(self, accounts: Collection[str] | None = None) -> list[tuple[SessionState, int]]:
        """The last stored session of these accounts, or of all, and how many ms ago its `seen_ms` is now."""

    async def cursors(self) -> dict[str, int]:
        """As `ports.Journal.cursors`."""

    async def advance(self, me: int, sink: str, sequence: int, dead: Sequence[DeadLetter]) -> None:
        """As `ports.Journal.advance`."""

    async def dead_letters(self, which: DeadLetterFilter) -> list[DeadLetter]:
        """As `ports.Journal.dead_letters`."""

    async def dead_letter_page(self, *, after: int, limit: int, sink: str | None) -> DeadLetterPage:
        """As `ports.Journal.dead_letter_page`."""

    async def dead_letter_groups(self, which: DeadLetterFilter) -> list[DeadLetterGroup]:
        """As `ports.Journal.dead_letter_groups`."""

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """As `ports.Journal.replay_dead_letters`; leaves an order `replay` for each lane that has some now."""

    async def drop_dead_letters(self, which: DeadLetterFilter) -> int:
        """As `ports.Journal.drop_dead_letters`."""

    async def replays(self, sink: str, limit: int) -> list[Event]:
        """As `ports.Journal.replays`."""

    async def settle_replays(self, me: int, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter]) -> None:
        """As `ports.Journal.settle_replays`."""

    async def lane_states(self) -> dict[str, LaneState]:
        """As `ports.Journal.lane_states`."""

    async def store_lane_state(self, me: int | None, state: LaneState) -> None:
        """As `ports.Journal.store_lane_state`; `me` is None for a command, which no replica is."""

    async def retain(self, me: int, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None) -> int:
        """As `ports.Journal.retain`."""

    async def stats(self) -> JournalStats:
        """As `ports.Journal.stats`; `bytes` is what its tables take."""

    async def heard(self, sequence: int) -> int:
        """Return the sequence of the newest event once it is above `sequence`, or sooner: a hint that may not come."""
