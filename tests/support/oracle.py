"""Holds an audit file against the ledger of what was published: what is missing, and what should not be there.

    verdict = judge(publisher.ledger, audit_events(folder), promise=Promise.NOTHING_MISSING)
    assert verdict.problems == (), verdict

The promise is what the session could keep: with acknowledgements, and a session that the server did not forget,
nothing may be missing at all; else what is missing has to lie in a stretch that is on record.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise
from typing import Any

from support.ledger import Publication

Json = dict[str, Any]
CLOCK = timedelta(milliseconds=2)  # times on record are cut to milliseconds
NAMED = 10  # so many numbers in a problem's text


class Promise(Enum):
    """What may be missing from the audit file."""

    NOTHING_MISSING = "nothing"
    MISSING_ON_RECORD = "only what lies in a gap on record"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What was found.

    Attributes:
        delivered: how many publications stand in the file at least once.
        reconciled: how many of them came by re-reading the chats alone.
        duplicates: lines of the file that bring a publication again, to the same account.
        gaps: gap events.
        missing: numbers that are not in the file, whatever the reason.
        unaccounted: those of them that the promise does not excuse.
        problems: everything that breaks a promise, in words; empty when all is well.
    """

    published: int
    delivered: int
    reconciled: int
    duplicates: int
    gaps: int
    missing: tuple[int, ...]
    unaccounted: tuple[int, ...]
    problems: tuple[str, ...]


def judge(
    ledger: Sequence[Publication],
    lines: Sequence[Json],
    *,
    promise: Promise,
    accounts: Collection[str] = ("agent1",),
) -> Verdict:
    """Compare the two.

    Args:
        ledger: what was published, in order.
        lines: the audit file's events in the order of its lines. A line may stand there again as it was: delivery is
            at least once.
        promise: what may be missing.
        accounts: the configured accounts; each of them hears every publication.
    """
    events, problems = _without_repeats(lines)
    dispositions = [event for event in events if event["type"].endswith(".chat.disposition")]
    gaps = [event for event in events if event["type"].endswith(".chat.gap")]
    known_types = (".chat.disposition", ".chat.gap")
    problems += [
        f"{_name(e)} is of an unknown type: {e['type']}" for e in events if not e["type"].endswith(known_types)
    ]
    problems += _not_rising(events)
    book = {entry.value: entry for entry in ledger}
    problems += [wrong for event in dispositions for wrong in _wrong(event, book, accounts)]
    known = [event for event in dispositions if event["data"]["disposition"] in book]
    problems += [*_out_of_order(known, book), *_broken_chain(dispositions), *_wrong_at_the_end(known, book)]
    heard = {_value(event) for event in known}
    missing = [entry for entry in ledger if entry.sure and entry.value not in heard]
    excused = promise is Promise.MISSING_ON_RECORD
    unaccounted = [entry for entry in missing if not (excused and _on_record(entry, gaps, accounts))]
    if unaccounted:
        where = "outside of every gap on record" if excused else "although nothing may be"
        problems.append(f"{len(unaccounted)} missing {where}: {_some(entry.number for entry in unaccounted)}")
    told = {_value(event) for event in known if event["data"]["origin"] != "reconciled"}
    lines_of = [line for line in lines if line["type"].endswith(".chat.disposition") and _value(line) in book]
    return Verdict(
        published=len(ledger),
        delivered=len(heard),
        reconciled=len(heard - told),
        duplicates=len(lines_of) - len({(line["data"]["account"], _value(line)) for line in lines_of}),
        gaps=len(gaps),
        missing=tuple(entry.number for entry in missing),
        unaccounted=tuple(entry.number for entry in unaccounted),
        problems=tuple(problems),
    )


def _without_repeats(lines: Sequence[Json]) -> tuple[list[Json], list[str]]:
    """Each event once, where it stood first; and each id that stands for different events."""
    first: dict[str, Json] = {}
    problems = [
        f"one id, two events: {_name(first[line['id']])} and {_name(line)}"
        for line in lines
        if first.setdefault(line["id"], line) != line
    ]
    return list(first.values()), problems


def _not_rising(events: Sequence[Json]) -> Iterator[str]:
    for before, event in pairwise(events):
        if int(event["sequence"]) <= int(before["sequence"]):
            yield f"sequences do not rise: {_name(before)}, then {_name(event)}"


def _wrong(event: Json, book: dict[str, Publication], accounts: Collection[str]) -> Iterator[str]:
    """What a disposition says that was not published so."""
    data = event["data"]
    entry = book.get(data["disposition"])
    if entry is None:
        yield f"{_name(event)} was never published"
        return
    expected = {"chatId": entry.chat, "key": entry.key}
    reconciled = data["origin"] == "reconciled"  # what re-reading finds has no cause
    if entry.reference_id is not None:
        mine = not reconciled and entry.agent in (None, data["account"])
        expected["referenceId"] = entry.reference_id if mine else None
    yield from (f"{_name(event)}: {f} is {data[f]!r}, published was {v!r}" for f, v in expected.items() if data[f] != v)
    if event["subject"] != entry.chat:
        yield f"{_name(event)}: subject is {event['subject']!r}, published was {entry.chat!r}"
    if data["account"] not in accounts:
        yield f"{_name(event)}: account is {data['account']!r}, configured are {', '.join(accounts)}"


def _out_of_order(dispositions: Sequence[Json], book: dict[str, Publication]) -> Iterator[str]:
    """Per account and chat, what came first for each number has to rise."""
    newest: dict[tuple[str, str], int] = defaultdict(int)
    seen: set[tuple[str, str]] = set()
    for event in dispositions:
        account, chat, value = event["data"]["account"], event["data"]["chatId"], _value(event)
        if (account, value) in seen:
            continue
        seen.add((account, value))
        number = book[value].number
        if number < newest[account, chat]:
            yield f"{_name(event)} stands behind {newest[account, chat]} of the same chat"
        newest[account, chat] = max(newest[account, chat], number)


def _broken_chain(dispositions: Sequence[Json]) -> Iterator[str]:
    """Each change names the value of the change before; what a chat had before its first line is not in the file."""
    last: dict[tuple[str, str], str | None] = {}
    for event in dispositions:
        data = event["data"]
        place = data["chatId"], data["key"]
        if data["change"] == "unchanged":
            continue
        if place in last and data["previous"] != last[place]:
            yield f"{_name(event)}: previous is {data['previous']!r}, the change before was to {last[place]!r}"
        if (data["change"] == "changed") != (data["previous"] is not None and data["disposition"] is not None):
            yield f"{_name(event)}: change is {data['change']!r} from {data['previous']!r}"
        last[place] = data["disposition"]


def _wrong_at_the_end(dispositions: Sequence[Json], book: dict[str, Publication]) -> Iterator[str]:
    """Whoever reads the file to its end has to know the newest value that came."""
    newest: dict[str, int] = defaultdict(int)
    last: dict[str, Json] = {}
    for event in dispositions:
        chat = event["data"]["chatId"]
        newest[chat] = max(newest[chat], book[_value(event)].number)
        if event["data"]["change"] != "unchanged":
            last[chat] = event
    for chat, event in last.items():
        if book[_value(event)].number != newest[chat]:
            yield f"{chat} ends with {_name(event)}, although {newest[chat]} came"


def _on_record(entry: Publication, gaps: Iterable[Json], accounts: Collection[str]) -> bool:
    """Whether nobody could be sure to hear it."""
    inside = {gap["data"]["account"] for gap in gaps if _holds(gap["data"], entry)}
    return inside.issuperset(accounts)


def _holds(gap: Json, entry: Publication) -> bool:
    start, end = datetime.fromisoformat(gap["from"]), datetime.fromisoformat(gap["to"])
    return entry.until >= start - CLOCK and entry.since <= end + CLOCK


def _value(event: Json) -> str:
    return event["data"]["disposition"]


def _name(event: Json) -> str:
    value = event["data"].get("disposition", event["type"])
    return f"#{event['sequence']} ({value})"


def _some(numbers: Iterable[int]) -> str:
    all_of_them = list(numbers)
    more = f" and {len(all_of_them) - NAMED} more" if len(all_of_them) > NAMED else ""
    return ", ".join(map(str, all_of_them[:NAMED])) + more
