"""The ports: the contracts of a journal, of the duties of a process, and of a sink."""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, runtime_checkable

from listener.model.condition import Exchange
from listener.model.event import (
    EVERY_DEAD_LETTER,
    Damage,
    DeadLetter,
    DeadLetterFilter,
    Event,
    JournalBatch,
    JournalStats,
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.filter import EVERY_EVENT, DeadLetterGroup, DeadLetterPage, EventFilter, Found
from listener.model.replica import Changes, Offer, Order


class Journal(Protocol):
    """The durable, ordered store between the receiver and the lanes: of one process, or shared by several.

    Every coroutine may be awaited from several tasks at once; none blocks the event loop. A cancelled caller changes
    nothing about a write that is under way: it either happens whole or not at all. Where it is shared, every write, and
    whatever waits, may raise `JournalFenced`: others have the duties of this process, which may confirm nothing more.
    """

    async def open(self) -> None:
        """Take ownership, create or migrate the schema.

        Raises:
            JournalLocked: another process owns it.
            JournalError: it cannot be opened; the text names the file.
        """

    async def close(self) -> None:
        """Finish what is queued and release the journal. Idempotent.

        Whatever is called afterwards, and every `wait_beyond` that is still waiting, raises `JournalError`.
        """

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest durable event, 0 before the first; retention does not set it back.

        Of events that other processes append it may learn a little later.
        """

    def events_between(self, after: int, through: int) -> int:
        """How many events there are above the sequence `after`, up to `through`: sequences have holes.

        Never too few. It may count some that were deleted a moment ago.
        """

    @property
    def trouble(self) -> str | None:
        """Why it cannot work at this moment, in words; None while it can, or nothing else is known."""

    @property
    def size_bytes(self) -> int:
        """Bytes that it takes, as last known."""

    async def append(self, batch: JournalBatch) -> int:
        """Store the batch atomically; returns the sequence of its last event once it is durable (fsynced).

        Events get consecutive sequences in their order and in the order of the calls, rising over restarts and never
        used twice. Values and sessions replace what is stored under (chat, key) and account. A batch without events
        returns the sequence before it.

        Raises:
            JournalStale: it has last values of `new_chats`, or others than `last_values` told or this process wrote of
                another chat; nothing of the batch is stored.
            JournalFull: no room; nothing of the batch is stored.
            JournalError: it could not be stored; nothing of the batch is.
        """

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """At most `limit` durable events with a sequence above `after`, oldest first; empty when there are none."""

    async def search(self, which: EventFilter = EVERY_EVENT, *, before: int | None = None, limit: int) -> Found:
        """The newest durable events that match, below the sequence `before` if given; newest first.

        Brings at most `limit` (1 or more) and looks at a bounded number of events, so it may bring fewer although there
        are more: `Found.before` tells where to look on.
        """

    async def wait_beyond(self, sequence: int) -> None:
        """Return once `last_sequence` is above `sequence`. Cancelling is safe."""

    async def cursors(self) -> dict[str, int]:
        """Per sink, the sequence up to which everything is settled."""

    async def advance(self, sink: str, sequence: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Move a sink's cursor to `sequence` and store its dead letters, in one durable transaction.

        A cursor never moves back: a lower sequence is ignored.
        """

    async def last_values(self, chat_ids: Collection[str]) -> list[LastValue]:
        """Every last value known of these chats."""

    async def sessions(self, accounts: Collection[str] | None = None) -> dict[str, SessionState]:
        """Per account, of these or of all, the last stored session.

        One that another host has stored comes with its moment by the clocks of this host.
        """

    async def dead_letters(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetter]:
        """The dead letters that match, oldest first."""

    async def dead_letter_page(self, *, after: int = 0, limit: int, sink: str | None = None) -> DeadLetterPage:
        """Dead letters of events above `after`, of one sink or of all, in the order of the journal, with their events.

        Brings `limit` of them (1 or more), and beyond those the ones of other sinks for the last event: a page never
        ends within an event, so that its last sequence is where the next one begins.
        """

    async def dead_letter_groups(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetterGroup]:
        """The dead letters that match, counted by sink and reason, the largest groups first.

        Of very many the newest are counted, and the largest groups told; see `model.filter`.
        """

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """Mark the matching letters for another delivery, durably; returns how many are marked now."""

    async def drop_dead_letters(self, which: DeadLetterFilter) -> int:
        """Delete the matching letters, durably and for good; returns how many there were.

        The event of one that lies above its sink's cursor, since others of its batch are still tried, is nowhere on
        record as done with then: a restart before the cursor has passed it brings it again.
        """

    async def replays(self, sink: str, limit: int) -> list[Event]:
        """At most `limit` events of a sink's letters that are marked for replay, in journal order.

        The events come from the letters' own copies: retention may have taken them from the journal.
        """

    async def settle_replays(self, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter] = ()) -> None:
        """Delete the `delivered` letters; those in `dead` stay, unmarked, with what is new of them. Durable."""

    async def lane_states(self) -> dict[str, LaneState]:
        """Per sink, what its lane stored last."""

    async def store_lane_state(self, state: LaneState) -> None:
        """Replace a lane's state, durably."""

    async def retain(self, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None = None) -> int:
        """Delete events received before `before_ms`, never past the slowest cursor of the sinks in `keep_for`.

        Goes from the oldest event on, by `received_ms`, and stops at the first that stays. Where the events in use
        take more than `max_bytes`, younger ones go too, down to nine tenths of that. Works in steps, so that appends
        get in between; cancelling ends it between two of them. A sink in `keep_for` without a cursor counts as 0. Last
        values of chats not heard of since `before_ms` go too. Returns the number of deleted events.
        """

    async def pending_damages(self) -> list[Damage]:
        """Damage or loss, found by this `open` or an earlier one, whose gaps are not on record yet; oldest first."""

    async def settle_damages(self, damages: Collection[Damage]) -> None:
        """The gaps of these are on record. Durable."""

    async def stats(self) -> JournalStats:
        """Figures for the status and the metrics."""

    async def ping(self) -> None:
        """Return once the writer has answered, whether or not it can write: it does not hang."""


class Duties(Protocol):
    """What this process has to do: the accounts that it listens for, the sinks that it delivers to.

    On one machine that is all of them, always. Where processes share a journal, each duty is one process's at a time,
    and moves: it is given, wanted back, and released once it is at rest here. See `listener.model.replica` for names.
    """

    @property
    def is_shared(self) -> bool:
        """Whether there may be other processes."""

    @property
    def held(self) -> Collection[str]:
        """What this process has at this moment: what was given and is not released."""

    async def offer(self, offers: Collection[Offer]) -> None:
        """What this process could do by its configuration, instead of what it has offered before.

        What it has already stays its own until it is released. Raises JournalFenced, JournalError.
        """

    async def changes(self) -> Changes:
        """Wait for what is new, and return it. Raises JournalFenced: everything is to end without confirming."""

    def carried_out(self, order: Order) -> None:
        """It need not be told again, to anybody; until then it goes where its duty goes."""

    async def release(self, duties: Collection[str]) -> None:
        """These are at rest here, and others may have them. Raises JournalFenced, JournalError."""

    def is_certain(self) -> bool:
        """Whether nobody else can have the duties of this process now: it may take what cannot be given twice."""

    async def certainty(self) -> None:
        """Return once `is_certain`; while it is, at once. Raises JournalFenced."""

    def report(self, duty: str, report: bytes) -> None:
        """JSON on how a duty of this process stands, for whoever asks any process; replaces the last."""

    def report_process(self, report: bytes) -> None:
        """JSON on this process, likewise."""

    async def order(self, duty: str, what: str, /) -> str | None:
        """Have whoever has a duty do something (see `replica.Order`); returns who that is. Raises JournalError."""

    async def leave(self) -> None:
        """Be gone in order: what is held is free for others at once. Never raises; idempotent."""


class Sink(Protocol):
    """A destination. It holds no retry, no queue, no policy: its lane does.

    A lane calls `open` once, then `deliver` with one batch at a time, then `close`.
    """

    async def open(self) -> None:
        """Open the file or the connection.

        Raises `Retry` or `Park`, or `StartError` for what the host refuses. May be called again after a failure.
        """

    async def deliver(self, events: Sequence[Event]) -> None:
        """Return when every event is durable at the destination (fsynced, 2xx, acked by the broker).

        `events` is never empty and in journal order; events of one chat must reach the destination in that order.
        It may be cancelled at any point: the lane will deliver the batch again.

        Raises:
            Retry: not all of it now; `delivered` names what is durable nevertheless.
            Park: a person is needed.
            Reject: some events can never be taken; names all that this call found.
        """

    async def check(self) -> None:
        """Probe the destination without sending an event; raises what `deliver` would."""

    async def close(self) -> None:
        """Release everything. Idempotent, and safe after a failed `open`."""


@runtime_checkable
class Reopens(Protocol):
    """A sink that writes to files, which others may rotate, has this too."""

    def reopen(self) -> None:
        """Reopen the file of the name. Neither waits nor raises; called at any time between `open` and `close`."""


@runtime_checkable
class ShowsExchanges(Protocol):
    """A sink that can show what it sends and what is answered has this too."""

    def show_to(self, show: Callable[[Exchange], None] | None) -> None:
        """Call this with each exchange of `deliver` from now on, without a secret; None ends that."""
