"""Answers of a daemon with any number of accounts, dead letters and attempts, for the console: see the server's own."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

REFUSED = "no subscription: the login was refused: 401 invalid credentials"
TIMED_OUT = "no subscription: the server could not be reached: timeout"
REASON = "the destination answered 400"


class Fleet:
    """What `/summary.json` and its neighbours say of so many accounts, at this moment.

    Args:
        accounts: how many there are.
        failing: how many of them, the first ones, cannot log in.
        letters: dead letters, of two reasons.
        parked: whether the sink `crm` is parked.
        more: further parts of the summary.

    Attributes:
        team: that of the last account, if it is a supervisor.
    """

    def __init__(
        self, *, accounts: int = 12, failing: int = 0, letters: int = 0, parked: bool = False, **more: Any
    ) -> None:
        self.names = [f"agent{number:05}" for number in range(1, accounts + 1)]
        self.failing = failing
        self.letters = letters
        self.parked = parked
        self.more = more
        self.resending = 0
        self.team: Mapping[str, Any] | None = None
        self.ordered: list[tuple[str, Mapping[str, Any]]] = []

    def answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        """What a GET is answered; None for a path that is not told here."""
        if path == "/summary.json":
            return {**self._summary(), **self.more}
        if path == "/accounts.json":
            return self._page(query)
        if path == "/dead-letters/groups":
            return {"groups": self._groups()}
        if path == "/dead-letters.json":
            return self._letters(query)
        if path.endswith("/attempts"):
            return {
                "sink": "crm",
                "attempts": self._attempts()[: int(query.get("limit", "100"))],
                "here": True,
                "replica": None,
            }
        return None

    def order(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a POST is answered; it is remembered."""
        self.ordered.append((path, body))
        if path.endswith("/resume"):
            was, self.parked = self.parked, False
            return {"sink": "crm", "resumed": was, "trying": not was}
        if path.endswith("/test"):
            return {"sink": "crm", "eventId": "1", "verdict": "park", "reason": "answered 401", "answer": "no"}
        if path == "/dead-letters/replay":
            return {"letters": 2}
        if path.endswith("/cancel"):
            return {"sink": "crm", "left": 1000}
        self.resending = 0 if body.get("dryRun") else 1234
        sent = {"events": 1234, "firstSequence": 1, "lastSequence": 1234, "waiting": 5, "oldestAt": None}
        return {"sink": "crm", "replica": None, **sent}

    def _summary(self) -> dict[str, Any]:
        letters = self._groups()
        failing, total = self.failing, len(self.names)
        refused, timed_out = self.names[: failing - failing // 4], self.names[failing - failing // 4 : failing]
        troubles = [
            {"what": what, "count": len(names), "accounts": names[:10], "firstAt": at(185), "lastAt": at(2)}
            for what, names in ((REFUSED, refused), (TIMED_OUT, timed_out))
            if names
        ]
        health = [
            {
                "what": f"{one['count']} accounts have {one['what']}",
                "since": one["firstAt"],
                "kind": "accounts",
                "help": "disposition-listener check --connect",
                "link": "#/accounts?state=troubled",
            }
            for one in troubles
        ]
        if self.parked:
            parked = {
                "what": "sink crm is parked: 127.0.0.1 answered 401",
                "since": at(740),
                "kind": "sink",
                "help": "disposition-listener sinks resume crm",
                "link": "#/sinks/crm",
            }
            health.insert(0, parked)
        newest = self.names[: min(20, failing)]
        waiting = [{"account": name, "since": at(180 - place), "why": REFUSED} for place, name in enumerate(newest)]
        return {
            "schemaVersion": 1,
            "at": at(0),
            "ready": not health,
            "instance": "listener-1.example.com",
            "server": "https://gws.example.com/api/v2",
            "replica": None,
            "replicas": [],
            "build": {"version": "1.2.3", "python": "3.13.1", "startedAt": at(86_400 * 3)},
            "configuration": {"loadedAt": at(86_400 * 3), "refusedAt": None, "problems": []},
            "health": health,
            "rates": {"eventsPerSecond": 4.25, "deliveriesPerSecond": 8.5},
            "lastHour": hour(),
            "accounts": {"total": total, "subscribed": total - failing, "troubled": failing},
            "troubles": troubles,
            "openGaps": {
                "count": failing,
                "oldestAt": at(185) if failing else None,
                "newest": waiting,
            },
            "sinks": [
                sink("audit", kind="file"),
                sink(
                    "crm",
                    parked="127.0.0.1 answered 401" if self.parked else None,
                    deadLetters=self.letters,
                    resendLeft=self.resending,
                ),
                sink("lake", kind="kafka"),
            ],
            "gaps": {"count": 3, "seconds": 12.4, "last": None},
            "deadLetters": {"total": self.letters, "bySink": {"crm": self.letters} if letters else {}},
            "journal": {
                "lastSequence": 48_151,
                "depthEvents": 623 if self.parked else 0,
                "oldestAgeSeconds": 740.0 if self.parked else 0.0,
                "bytes": 31_400_000,
                "failing": None,
                "commitWaitingSeconds": 0.0,
                "stored": {"events": 48_151, "firstSequence": 1, "oldestAt": at(86_400), "damages": []},
            },
        }

    def _page(self, query: Mapping[str, str]) -> dict[str, Any]:
        troubled = set(self.names[: self.failing])
        found = [
            name
            for name in self.names
            if query.get("search", "").lower() in name
            and query.get("state", "all") in ("all", "troubled" if name in troubled else "subscribed")
        ]
        after, limit = query.get("after", ""), int(query.get("limit", "100"))
        page = [name for name in found if name > after][:limit]
        more = bool(page) and page[-1] != found[-1]
        return {
            "accounts": [self._account(name, subscribed=name not in troubled) for name in page],
            "next": page[-1] if more else None,
            "total": len(found),
        }

    def _account(self, name: str, *, subscribed: bool) -> dict[str, Any]:
        return {
            "account": name,
            "subscribed": subscribed,
            "subscribedAt": at(86_400) if subscribed else None,
            "epoch": 1,
            "ack": True,
            "silentSeconds": 0.0,
            "gaps": {"count": 0, "seconds": 0.0, "last": None},
            "lastError": None if subscribed else REFUSED,
            "trouble": None if subscribed else REFUSED,
            "troubleSince": None if subscribed else at(185),
            "gapSince": None if subscribed else at(184),
            "replica": None,
            "team": self.team if name == self.names[-1] else None,
        }

    def _groups(self) -> list[dict[str, Any]]:
        often, rarely = self.letters - self.letters // 5, self.letters // 5
        return [
            {
                "sink": "crm",
                "reason": reason,
                "count": count,
                "firstSequence": 12,
                "lastSequence": 48_000,
                "firstAt": at(7200),
                "lastAt": at(30),
                "replaying": 0,
            }
            for reason, count in ((f"{REASON}: no contact …", often), (f"{REASON}: duplicate key", rarely))
            if count
        ]

    def _letters(self, query: Mapping[str, str]) -> dict[str, Any]:
        first, limit = int(query.get("after", "0")) + 1, int(query.get("limit", "100"))
        last = min(self.letters, first + limit - 1)
        letters = [
            {
                "sink": "crm",
                "sequence": number,
                "eventId": f"event-{number}",
                "chatId": f"0000Na9B26EF{number:04X}",
                "disposition": "Refund",
                "reason": f"{REASON}: {f'no contact {number}' if number % 5 else 'duplicate key'}",
                "attempts": 1,
                "at": at(7200 - number % 7000),
                "replaying": False,
            }
            for number in range(first, last + 1)
        ]
        return {"letters": letters, "more": last < self.letters}

    def _attempts(self) -> list[dict[str, Any]]:
        outcomes = ["park", "retry", "delivered", "reject", "delivered", "delivered"]
        said = {"park": "answered 401: invalid API key", "retry": "timeout", "reject": "answered 400: no such contact"}
        return [
            {
                "at": at(5 + 9 * place),
                "events": 1,
                "taken": int(outcome == "delivered"),
                "firstSequence": 48_151 - place,
                "lastSequence": 48_151 - place,
                "outcome": outcome,
                "seconds": 0.034,
                "said": said.get(outcome, "200"),
            }
            for place, outcome in enumerate(outcomes * 8)
        ]


def at(ago_s: float) -> str:
    """The moment so many seconds ago."""
    moment = datetime.now(UTC) - timedelta(seconds=ago_s)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sink(name: str, *, kind: str = "webhook", parked: str | None = None, **more: Any) -> dict[str, Any]:
    """A sink that does what it should, unless it is told otherwise."""
    return {
        "sink": name,
        "kind": kind,
        "cursor": 47_528 if parked else 48_151,
        "lagEvents": 623 if parked else 0,
        "lagSeconds": 740.0 if parked else 0.0,
        "delivered": 47_500,
        "failures": 9 if parked else 0,
        "parked": parked,
        "stalledSeconds": 0.0,
        "quietSeconds": 0.0,
        "failingSeconds": None,
        "nextAttemptSeconds": None,
        "lastError": None,
        "deadLetters": 0,
        "replica": None,
        "resendLeft": 0,
        **more,
    }


def hour(events: Sequence[int | None] | None = None) -> dict[str, Any]:
    """An hour with a slow stretch and two gaps; nobody knows its first ten minutes."""
    counts = events or [None if step < 10 else 180 + (step * 37) % 120 for step in range(60)]
    return {
        "since": at(3600),
        "knownSince": at(3000),
        "stepSeconds": 60,
        "events": counts,
        "delayMs": [
            None if one is None else 90 + (2400 if 30 < step < 34 else step) for step, one in enumerate(counts)
        ],
        "gaps": [
            {"account": "agent00007", "from": at(1500), "to": at(1496), "seconds": 4.0, "reason": "session_expired"},
            {"account": "agent00003", "from": at(900), "to": at(640), "seconds": 260.0, "reason": "network"},
        ],
        "replica": None,
    }
