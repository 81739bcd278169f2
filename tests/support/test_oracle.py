"""Every way in which an audit file can be wrong is found; what is right is not."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.ledger import Publication
from support.oracle import Promise, Verdict, judge

START = datetime(2026, 11, 22, 9, 39, tzinfo=UTC)
CHATS = ("chat-a", "chat-b")


def at(second: float) -> datetime:
    return START + timedelta(seconds=second)


def published(number: int, **fields: Any) -> Publication:
    """The number's publication, in the second of its number."""
    known = {"chat": CHATS[number % 2], "agent": "agent1", "reference_id": 30 + number, "value": f"code-{number}"}
    return Publication(number=number, since=at(number), until=at(number), **{**known, **fields})


def disposition(number: int, *, sequence: int, **data: Any) -> dict[str, Any]:
    known = {
        "disposition": f"code-{number}",
        "key": "DispositionCode",
        "chatId": CHATS[number % 2],
        "referenceId": 30 + number,
        "account": "agent1",
        "origin": "notification",
        "change": "set",
        "previous": None,
    }
    event_type = "disposition-listener.chat.disposition"
    return {
        "id": f"id-{sequence}",
        "type": event_type,
        "subject": CHATS[number % 2],
        "sequence": str(sequence),
        "data": {**known, **data},
    }


def gap(start: float, end: float, *, sequence: int, account: str = "agent1") -> dict[str, Any]:
    data = {"account": account, "from": at(start).isoformat(), "to": at(end).isoformat()}
    return {
        "id": f"id-{sequence}",
        "type": "disposition-listener.chat.gap",
        "subject": account,
        "sequence": str(sequence),
        "data": data,
    }


LEDGER = [published(number) for number in range(1, 9)]


def file_of(*numbers: int) -> list[dict[str, Any]]:
    """An audit file of these numbers, its sequences without a hole, each with the value before."""
    lines: list[dict[str, Any]] = []
    for place, number in enumerate(numbers, start=1):
        before = [line["data"]["disposition"] for line in lines if line["subject"] == CHATS[number % 2]]
        previous = before[-1] if before else None
        change = "changed" if previous else "set"
        lines.append(disposition(number, sequence=place, change=change, previous=previous))
    return lines


def unchanged(number: int, *, sequence: int, **data: Any) -> dict[str, Any]:
    return disposition(number, sequence=sequence, change="unchanged", previous=f"code-{number}", **data)


def judged(
    lines: list[dict[str, Any]], *, promise: Promise = Promise.NOTHING_MISSING, ledger: list[Publication] = LEDGER
) -> Verdict:
    return judge(ledger, lines, promise=promise)


def test_a_whole_file_is_in_order():
    verdict = judged(file_of(1, 2, 3, 4, 5, 6, 7, 8))
    assert verdict.problems == ()
    assert (verdict.published, verdict.delivered, verdict.duplicates, verdict.gaps) == (8, 8, 0, 0)


def test_chats_may_overtake_each_other():
    assert judged(file_of(2, 1, 4, 6, 3, 5, 8, 7)).problems == ()


def test_a_missing_number_is_found():
    verdict = judged(file_of(1, 2, 4, 5, 6, 7, 8))
    assert verdict.missing == verdict.unaccounted == (3,)
    assert verdict.problems == ("1 missing although nothing may be: 3",)


def test_a_missing_number_is_found_even_in_a_gap_where_nothing_may_be_missing():
    assert judged([*file_of(1, 2, 4, 5, 6, 7, 8), gap(2.5, 3.5, sequence=9)]).unaccounted == (3,)


def test_what_is_missing_may_lie_in_a_gap():
    verdict = judged([*file_of(1, 2, 6, 7, 8), gap(2.5, 5, sequence=9)], promise=Promise.MISSING_ON_RECORD)
    assert verdict.problems == ()
    assert (verdict.missing, verdict.unaccounted, verdict.gaps) == ((3, 4, 5), (), 1)


def test_what_is_missing_outside_of_the_gap_is_found():
    verdict = judged([*file_of(1, 2, 6, 7, 8), gap(2.5, 4.9, sequence=9)], promise=Promise.MISSING_ON_RECORD)
    assert verdict.unaccounted == (5,)
    assert verdict.problems == ("1 missing outside of every gap on record: 5",)


def test_a_gap_of_one_account_excuses_no_other():
    verdict = judge(
        LEDGER,
        [*file_of(1, 2, 4, 5, 6, 7, 8), gap(2.5, 5, sequence=9)],
        promise=Promise.MISSING_ON_RECORD,
        accounts=("agent1", "agent2"),
    )
    assert verdict.unaccounted == (3,)


def test_many_missing_numbers_are_named_in_part():
    ledger = [published(number) for number in range(1, 31)]
    (problem,) = judged([], ledger=ledger).problems
    assert problem.endswith("1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 20 more")


def test_what_was_published_only_perhaps_may_be_missing_or_not():
    ledger = [*LEDGER[:-1], published(8, sure=False)]
    assert judged(file_of(1, 2, 3, 4, 5, 6, 7), ledger=ledger).problems == ()
    assert judged(file_of(1, 2, 3, 4, 5, 6, 7, 8), ledger=ledger).problems == ()


def test_a_doubled_number_is_counted():
    lines = [*file_of(1, 2, 3, 4, 5, 6, 7, 8), unchanged(7, sequence=9), unchanged(8, sequence=10)]
    verdict = judged(lines)
    assert verdict.duplicates == 2
    assert verdict.problems == ()


def test_a_line_that_stands_again_as_it_was_is_a_duplicate_and_no_problem():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    verdict = judged([*lines, *lines[-3:]])
    assert verdict.duplicates == 3
    assert verdict.problems == ()


def test_one_id_for_two_events_is_found():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines[3]["id"] = lines[1]["id"]
    assert "one id, two events: #2 (code-2) and #4 (code-4)" in judged(lines).problems


def test_the_same_event_under_another_sequence_is_two_events():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    assert judged([*lines, {**lines[-1], "sequence": "9"}]).problems == (
        "one id, two events: #8 (code-8) and #9 (code-8)",
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"chatId": "chat-x"}, "chatId is 'chat-x', published was 'chat-b'"),
        ({"key": "Other"}, "key is 'Other', published was 'DispositionCode'"),
        ({"referenceId": 99}, "referenceId is 99, published was 31"),
        ({"referenceId": None}, "referenceId is None, published was 31"),
        ({"account": "agent7"}, "account is 'agent7', configured are agent1"),
    ],
)
def test_a_changed_payload_is_found(data: dict[str, Any], problem: str):
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines[0]["data"] |= data
    assert f"#1 (code-1): {problem}" in judged(lines).problems


def test_where_there_are_no_agents_every_account_gets_the_reference():
    ledger = [published(1, agent=None)]
    assert judged(file_of(1), ledger=ledger).problems == ()
    assert judged([disposition(1, sequence=1, referenceId=None)], ledger=ledger).problems


def test_a_wrong_subject_is_found():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines[0]["subject"] = "chat-x"
    assert judged(lines).problems == ("#1 (code-1): subject is 'chat-x', published was 'chat-b'",)


def test_what_was_found_by_re_reading_has_no_reference():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines[4]["data"] |= {"origin": "reconciled", "referenceId": None}
    verdict = judged(lines)
    assert verdict.problems == ()
    assert verdict.reconciled == 1
    lines[4]["data"]["referenceId"] = 35
    assert judged(lines).problems == ("#5 (code-5): referenceId is 35, published was None",)


def test_a_swapped_order_is_found():
    assert judged(file_of(1, 2, 5, 4, 3, 6, 7, 8)).problems == ("#5 (code-3) stands behind 5 of the same chat",)


def test_a_chat_that_ends_with_an_old_value_is_found():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8, 5)
    assert judged(lines).problems == ("chat-b ends with #9 (code-5), although 7 came",)
    lines[-1] = unchanged(5, sequence=9)
    assert judged(lines).problems == ()


def test_a_change_that_does_not_follow_on_the_one_before_is_found():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines[4]["data"]["previous"] = "code-1"
    assert judged(lines).problems == ("#5 (code-5): previous is 'code-1', the change before was to 'code-3'",)


@pytest.mark.parametrize(("change", "previous"), [("set", "code-0"), ("changed", None), ("cleared", "code-0")])
def test_a_change_that_is_called_what_it_is_not_is_found(change: str, previous: str | None):
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines[0]["data"] |= {"change": change, "previous": previous}
    assert judged(lines).problems == (f"#1 (code-1): change is {change!r} from {previous!r}",)


def test_what_a_chat_had_before_its_first_line_is_not_in_the_file():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines[0]["data"] |= {"change": "changed", "previous": "older"}
    assert judged(lines).problems == ()


def test_an_invented_event_is_found():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert judged(lines).problems == ("#9 (code-9) was never published",)


def test_a_cleared_disposition_that_nobody_cleared_is_invented():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines.append(disposition(8, sequence=9, disposition=None, change="cleared", previous="code-8"))
    assert judged(lines).problems == ("#9 (None) was never published",)


def test_an_event_of_another_kind_is_found():
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines.append({**deepcopy(lines[0]), "id": "id-9", "type": "x.chat.rumour", "sequence": "9"})
    assert judged(lines).problems == ("#9 (code-1) is of an unknown type: x.chat.rumour",)


@pytest.mark.parametrize("sequence", ["1", "2"])
def test_a_sequence_that_does_not_rise_is_found(sequence: str):
    lines = file_of(1, 2, 3, 4, 5, 6, 7, 8)
    lines[2]["sequence"] = sequence
    assert judged(lines).problems == (f"sequences do not rise: #2 (code-2), then #{sequence} (code-3)",)


def test_every_agent_in_a_conference_hears_it_and_one_of_them_caused_it():
    lines = [
        disposition(1, sequence=1),
        unchanged(1, sequence=2, account="agent2", referenceId=None),
    ]
    verdict = judge(LEDGER[:1], lines, promise=Promise.NOTHING_MISSING, accounts=("agent1", "agent2"))
    assert (verdict.problems, verdict.duplicates) == ((), 0)
