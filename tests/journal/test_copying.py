"""A copy is compared with what was copied before it is there, whatever goes wrong on the way."""

from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from listener.errors import JournalError
from listener.journal.copying import PAGE, copy
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.copying import SqliteTarget, opened_source, opened_target
from listener.model.event import Event, JournalBatch, LastValue
from listener.model.filter import Undelivered
from support.copies import holds, make_rich_journal
from support.events import dead_letter, disposition_event


@pytest.fixture
async def rich(tmp_path):
    await make_rich_journal(tmp_path / "rich.db")
    return tmp_path / "rich.db"


@asynccontextmanager
async def sides(source, target):
    async with opened_source(source) as given, opened_target(target) as made:
        yield given, made


async def test_a_copy_holds_all_of_the_source_and_tells_how_much_that_is(rich, tmp_path):
    told = []
    async with sides(rich, tmp_path / "copy.db") as (given, made):
        rows = await given.size()
        held = await copy(given, made, told.append)
    assert holds(tmp_path / "copy.db") == holds(rich)
    assert (held.last_sequence, held.events, held.values, held.letters, held.sessions) == (40, 23, 10, 6, 2)
    assert rows == 23 + 10 + 6
    assert sum(told) == 2 * rows


@pytest.mark.parametrize(
    ("what", "kind"), [("digest", Event), ("digest_of_others", LastValue), ("letters", Undelivered)]
)
async def test_a_side_that_does_not_keep_what_it_is_given_is_found_out(rich, tmp_path, monkeypatch, what, kind):
    whole, spoil = SqliteTarget.add, {Event: _other_event, LastValue: _other_value, Undelivered: lambda _: []}[kind]

    async def careless(self, page):
        await whole(self, [*spoil(page[0]), *page[1:]] if isinstance(page[0], kind) else page)

    monkeypatch.setattr(SqliteTarget, "add", careless)
    with pytest.raises(JournalError, match=f"the copy is not what was copied: .*{what}"):
        async with sides(rich, tmp_path / "copy.db") as (given, made):
            await copy(given, made)
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.db.lock"]


def _other_event(event):
    return [replace(event, data=b'{"key":"another"}')]


def _other_value(value):
    return [replace(value, received_ms=value.received_ms + 1)]


@pytest.mark.parametrize("part", ["cursors", "lanes", "sessions", "holes", "last_sequence"])
async def test_what_is_no_row_is_compared_too(rich, tmp_path, monkeypatch, part):
    whole = SqliteTarget.complete

    async def careless(self, rest):
        await whole(self, replace(rest, **{part: type(getattr(rest, part))()}))

    monkeypatch.setattr(SqliteTarget, "complete", careless)
    with pytest.raises(JournalError, match="the copy is not what was copied"):
        async with sides(rich, tmp_path / "copy.db") as (given, made):
            await copy(given, made)
    assert not (tmp_path / "copy.db").exists()


async def test_a_row_that_is_not_walked_over_is_missed(rich, tmp_path, monkeypatch):
    """Both sides would be alike without it."""

    async def nothing(self, after, limit):
        return []

    monkeypatch.setattr(SqliteTarget.__mro__[1], "values", nothing)
    with pytest.raises(JournalError, match="of 39 rows, 29 were found"):
        async with sides(rich, tmp_path / "copy.db") as (given, made):
            await copy(given, made)
    assert not (tmp_path / "copy.db").exists()


async def test_more_than_a_page_of_everything_is_copied(tmp_path):
    count = 2 * PAGE + 1
    journal = SqliteJournal(path=tmp_path / "long.db")
    await journal.open()
    values = tuple(LastValue("one chat", f"key-{number}", None, "agent1", None, 1) for number in range(count))
    await journal.append(JournalBatch(events=tuple(disposition_event(n) for n in range(1, count + 1)), values=values))
    for sink in ("a", "b"):
        await journal.advance(sink, count, [dead_letter(n, hour=1, sink=sink) for n in range(1, PAGE + 2)])
    await journal.close()
    async with sides(tmp_path / "long.db", tmp_path / "copy.db") as (given, made):
        held = await copy(given, made)
    assert (held.events, held.values, held.letters) == (count, count, 2 * PAGE + 2)
    assert holds(tmp_path / "copy.db") == holds(tmp_path / "long.db")
