"""What is read of a file and of a database that holds the same is the same."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from listener.cli import looks
from listener.cli.shared import Shared
from listener.config.journal import JournalSettings
from listener.errors import JournalError
from listener.journal.copying import copy
from listener.journal.postgres import copying as postgres
from listener.journal.sqlite import copying as sqlite
from listener.model.event import DeadLetterFilter
from support.copies import make_rich_journal
from support.postgresserver import PostgresServer


@pytest.fixture
async def both(tmp_path):
    """A file, and a database that it was copied to."""
    await make_rich_journal(tmp_path / "rich.db")
    with PostgresServer(fsync="off") as server:
        table = JournalSettings(url=server.address, username="admin", tls=False)
        place = Shared(table, Path())
        async with sqlite.opened_source(tmp_path / "rich.db") as given, postgres.opened_target(place.options()) as made:
            await copy(given, made)
        yield tmp_path / "rich.db", place, server


async def test_an_event_that_is_gone_is_missed_beside_the_holes_that_are_on_record(both):
    _, place, server = both
    await server.execute("DELETE FROM disposition_listener.event WHERE sequence = 20")
    found = await asyncio.to_thread(looks.verify, place)
    assert "event 21 follows on 19: 1 missing" in found


async def test_a_look_makes_no_schema_and_brings_none_up_to_date(both):
    _, _, server = both
    other = Shared(JournalSettings(url=server.address, username="admin", tls=False, schema="other"), Path())
    with pytest.raises(JournalError, match="schema other: no journal is there: the start of a replica"):
        await asyncio.to_thread(looks.stats, other)
    assert await server.fetch("SELECT 1 FROM pg_namespace WHERE nspname = 'other'") == []
    await server.execute("UPDATE disposition_listener.schema_version SET version = 1")
    with pytest.raises(JournalError, match="its schema is of an older version"):
        await asyncio.to_thread(looks.stats, both[1])
    (version,) = await server.fetch("SELECT version FROM disposition_listener.schema_version")
    assert version[0] == 1


def test_both_say_the_same(both):
    file, place, _ = both
    of_a_file = replace(looks.stats(file), bytes=0)
    assert replace(looks.stats(place), bytes=0) == of_a_file
    for words in ({"limit": 100}, {"after": 7, "limit": 3}, {"chat": "chät-7", "limit": 5}):
        assert looks.show(place, **words) == looks.show(file, **words)
    assert list(looks.export(place, on_damage=pytest.fail)) == list(looks.export(file, on_damage=pytest.fail))
    assert looks.verify(place) == looks.verify(file) == []
    for which in (DeadLetterFilter(), DeadLetterFilter(sink="crm"), DeadLetterFilter(event_ids=("event-6",))):
        assert looks.dead_letters(place, which) == looks.dead_letters(file, which)
        assert looks.dead_letter_events(place, which) == looks.dead_letter_events(file, which)
