"""What a report tells: dispositions, one by one or in columns, and gaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from listener.audit.verdict import Proof
from listener.model.event import Origin

_UNPROVEN = {Proof.SIGNED: "", Proof.CHAINED: "not signed", Proof.NONE: "not proven"}


class Row(msgspec.Struct, frozen=True, rename="camel", tag_field="row", tag="disposition", gc=False):
    """One disposition.

    Times are RFC 3339 in the zone that is asked for. `agents` were in the chat, as the event or, where it names none,
    the last one of the chat before it has them; `agent` is whose chat it is, as far as a supervisor knew.
    `reference_id` is there where the account itself asked for it. `proof` is what stands for its line: `signed`,
    `chained` or `none`.
    """

    time: str
    chat_id: str
    agents: tuple[str, ...]
    account: str
    key: str
    previous: str | None
    disposition: str | None
    change: str
    origin: str
    proof: Proof
    near_gap: bool
    reference_id: int | None
    sequence: str
    id: str
    agent: str | None = None

    @property
    def heard(self) -> str:
        """By which account, and in whose chat where it is a supervisor."""
        return heard_by(self.account, self.agent)

    @property
    def notes(self) -> str:
        """What qualifies it, in words."""
        return notes(self.proof, self.origin, near_gap=self.near_gap)


class GapRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="gap", gc=False):
    """One stretch in which a disposition of the account could have been missed."""

    time: str
    account: str
    from_: str = msgspec.field(name="from")
    to: str
    seconds: float
    reason: str
    closed_by: str
    proof: Proof
    sequence: str
    id: str
    agent: str | None = None

    @property
    def heard(self) -> str:
        """By which account it was missed, and of whose chats where it is not about all."""
        return heard_by(self.account, self.agent)

    @property
    def notes(self) -> str:
        """What qualifies it, in words."""
        return _UNPROVEN[self.proof]


@dataclass(slots=True, frozen=True)
class Rows:
    """Dispositions that stand one behind the other, in columns, which are told much faster than one by one.

    The columns are the fields of `Row`. Whoever goes through it gets each as a `Row`.
    """

    times: Sequence[str]
    chat_ids: Sequence[str]
    agents: Sequence[tuple[str, ...]]
    accounts: Sequence[str]
    keys: Sequence[str]
    previous: Sequence[str | None]
    dispositions: Sequence[str | None]
    changes: Sequence[str]
    origins: Sequence[str]
    proofs: Sequence[Proof]
    near_gap: Sequence[bool]
    reference_ids: Sequence[int | None]
    sequences: Sequence[str]
    ids: Sequence[str]
    whose: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Row]:
        return map(Row, *self._columns())

    def kinds(self) -> Iterator[tuple[Proof, str, bool]]:
        """What qualifies each: proof, origin, and whether a gap is near."""
        return zip(self.proofs, self.origins, self.near_gap, strict=True)

    def _columns(self) -> tuple[Sequence[object], ...]:
        who = self.times, self.chat_ids, self.agents, self.accounts, self.keys
        what = self.previous, self.dispositions, self.changes, self.origins
        return (*who, *what, self.proofs, self.near_gap, self.reference_ids, self.sequences, self.ids, self.whose)


def heard_by(account: str, agent: str | None) -> str:
    """The account, and whose chats are meant where that is not itself."""
    return account if agent is None else f"{account} for {agent}"


def notes(proof: Proof, origin: str, *, near_gap: bool) -> str:
    """What qualifies a disposition, in words."""
    found = "found by re-reading" if origin == Origin.RECONCILED else ""
    return ", ".join(filter(None, (_UNPROVEN[proof], found, "near a gap" if near_gap else "")))
