"""The compact books: every line once, however it came into the file; what two sinks have unlike."""

from pathlib import Path

import aiohttp
import msgspec
import pytest

from support.books import AuditBook, Till, differences
from support.events import disposition_event, gap_event
from support.receiver import Answer


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    return tmp_path / "dispositions.jsonl"


def append(audit: Path, text: bytes) -> None:
    with audit.open("ab") as file:
        file.write(text)


def test_a_line_is_read_once_and_only_when_it_is_whole(audit: Path):
    book = AuditBook(audit)
    assert book.read_on() == []
    first, second = (disposition_event(number, value=f"code-{number}").to_json() + b"\n" for number in (1, 2))
    append(audit, first + second[:50])
    assert [record["data"]["disposition"] for record in book.read_on()] == ["code-1"]
    append(audit, second[50:])
    assert [record["data"]["disposition"] for record in book.read_on()] == ["code-2"]
    assert book.read_on() == []


def test_a_repeated_line_is_no_new_one_and_is_kept_for_the_oracle(audit: Path):
    book = AuditBook(audit)
    append(audit, 2 * (disposition_event(1).to_json() + b"\n"))
    assert len(book.read_on()) == 1
    assert len(book.records["agent1"]) == 2
    assert book.problems == []


def test_sequences_that_fall_and_lines_that_are_no_events_are_problems(audit: Path):
    book = AuditBook(audit)
    append(audit, b"".join(disposition_event(number).to_json() + b"\n" for number in (2, 1)) + b"{}\n")
    book.read_on()
    assert book.problems[0] == "line 2: sequence 1 stands behind 2"
    assert book.problems[1].startswith("line 3 is no event")


def test_gaps_are_told_by_account(audit: Path):
    book = AuditBook(audit)
    append(audit, b"".join(gap_event(n, account=f"agent{n}").to_json() + b"\n" for n in (1, 2)))
    book.read_on()
    assert [gap["account"] for gap in book.gaps("agent2")] == ["agent2"]


async def test_what_the_webhook_got_is_compared_to_the_letter(audit: Path):
    book = AuditBook(audit)
    events = [disposition_event(number) for number in (1, 2)]
    append(audit, b"".join(event.to_json() + b"\n" for event in events))
    book.read_on()
    async with Till() as till, aiohttp.ClientSession() as http:
        for event in (events[0], events[0], events[1]):
            await http.post(till.url, data=event.to_json())
        assert (differences(book, till), till.repeats, till.problems) == ([], 1, [])
        changed = msgspec.structs.replace(events[0], subject="another")
        await http.post(till.url, data=changed.to_json())
        assert till.problems == ["webhook: two bodies with the id of #1"]
        till.answers = Answer(status=500)
        await http.post(till.url, data=disposition_event(3).to_json())
        assert (len(till.hashes), till.answered[500]) == (2, 1)
        append(audit, disposition_event(3).to_json() + b"\n")
        book.read_on()
        assert differences(book, till) == ["1 events only in the file, 0 only at the webhook, 0 unlike in both"]
