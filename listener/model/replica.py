"""Replicas that share a journal, and what each of them has to do.

A *duty* is what exactly one replica does at a time: `account/NAME` (listen), `lane/SINK` (deliver) and `housekeeping`.
"""

import msgspec

ACCOUNT = "account/"
LANE = "lane/"
HOUSEKEEPING = "housekeeping"


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A duty that a replica could do by its configuration; `only` is the replica that alone may, None for any."""

    duty: str
    only: str | None = None


class Grant(msgspec.Struct, frozen=True):
    """A duty that a replica has; `epoch` rises with every grant of any duty and is never used twice."""

    duty: str
    epoch: int


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator wants of whoever has a duty.

    `what` is `resume`, `replay`, `resend AFTER THROUGH` (see `resend_order`) or `resend-cancel`, of a lane.
    """

    number: int
    duty: str
    what: str


def resend_order(after: int, through: int) -> str:
    """Deliver again what is above the sequence `after`, up to `through`."""
    return f"resend {after} {through}"


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A replica has joined under an incarnation, a number that was never used before, and may write."""

    incarnation: int
    last_sequence: int


class Beaten(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a beat.

    Attributes:
        granted: what the replica has been given since the epoch that it named; at most 1,000, lowest epochs first.
        more: whether there are more: it should beat again at once.
        wanted_back: what it should release once that is at rest, since others have less; all of it if it drains.
        orders: for what it has, and not yet taken.
        last_sequence: of the newest durable event, whoever wrote it.
        draining: whether an operator wants it to have nothing.
        others: how many other replicas are alive and not draining.
    """

    granted: tuple[Grant, ...] = ()
    more: bool = False
    wanted_back: tuple[str, ...] = ()
    orders: tuple[Order, ...] = ()
    last_sequence: int = 0
    draining: bool = False
    others: int = 0


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is new for a process: duties given to it, duties wanted back, orders for duties that it has."""

    given: tuple[str, ...] = ()
    wanted_back: tuple[str, ...] = ()
    orders: tuple[Order, ...] = ()


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch.

    Attributes:
        last_sequence: of its last event, or of the one before it if it has none; 0 if it is stale.
        revision: what the last values of all its chats have now.
        stale: chats whose last values are not those that the batch was classified against: nothing was stored.
    """

    last_sequence: int
    revision: int
    stale: tuple[str, ...] = ()


class ReplicaReport(msgspec.Struct, frozen=True, kw_only=True):
    """A replica as the database knows it.

    Attributes:
        state: `alive`, `draining`, or `late` if it has not beaten for its lease.
        beat_age_s: how long ago it has beaten, by the clock of the database.
        joined_ms: when it joined, epoch milliseconds by the clock of the database.
        accounts, lanes: how many duties of each kind it has.
        housekeeping: whether it has that.
        report: JSON that it has left with its beats; empty before the first.
    """

    name: str
    incarnation: int
    state: str
    beat_age_s: float
    joined_ms: int
    version: str
    accounts: int
    lanes: int
    housekeeping: bool
    report: bytes = b""


class DutyReport(msgspec.Struct, frozen=True, kw_only=True):
    """A duty and who has it, None for nobody; `report` is JSON that its owner has left, empty before the first."""

    duty: str
    replica: str | None
    epoch: int
    report: bytes = b""
