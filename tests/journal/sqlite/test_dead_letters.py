"""The SQL of dead letters, lane states and damage, beside the contract in contracts/test_journal.py."""

import sqlite3
from contextlib import closing

import pytest
from msgspec.structs import asdict, replace

from listener.journal.sqlite import dead_letters, rows
from listener.journal.sqlite.database import newest_schema
from listener.model.event import Damage, DeadLetter, DeadLetterFilter, LaneState

SET = LaneState(
    sink="crm",
    parked="a person is needed",
    parked_ms=1,
    sequence=2,
    attempts=3,
    failing_ms=4,
    last_error="why",
    disabled=True,
    quiet_from_ms=5,
    quiet_until_ms=6,
    resend_after=7,
    resend_through=8,
)


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(newest_schema())
        yield connection


def letter(sequence, **more):
    values = {"sink": "crm", "event_id": f"event-{sequence}", "reason": "HTTP 422", "attempts": 2, "at_ms": 1}
    return DeadLetter(sequence=sequence, **{**values, **more})


def test_a_dead_letter_without_its_event_is_stored_all_the_same(connection):
    dead_letters.insert(connection, [letter(9)])
    assert dead_letters.select(connection, DeadLetterFilter(sink="crm")) == [letter(9)]


def test_a_dead_letter_without_its_event_cannot_be_replayed(connection):
    dead_letters.insert(connection, [letter(9)])
    assert dead_letters.mark(connection, DeadLetterFilter()) == 0
    assert dead_letters.select_events(connection, DeadLetterFilter()) == []


def test_more_ids_than_sqlite_has_parameters(connection):
    dead_letters.insert(connection, [letter(9)])
    many = tuple(f"event-{n}" for n in range(300_000))
    assert dead_letters.drop(connection, DeadLetterFilter(event_ids=many)) == 1


def test_figures_are_of_one_moment_and_leave_no_transaction(connection):
    assert dead_letters.select_stats(connection, 5).bytes == 5
    assert not connection.in_transaction


def test_damage_is_pending_until_it_is_settled(connection):
    damage = Damage(at_ms=3, set_aside="journal.db.damaged", kept=7, stretches=((1, 2),))
    dead_letters.insert_damage(connection, damage)
    assert dead_letters.select_damages(connection, pending=True) == [damage]
    dead_letters.settle_damages(connection, [replace(damage, at_ms=4)])
    assert dead_letters.select_damages(connection, pending=True) == [damage]
    dead_letters.settle_damages(connection, [damage])
    assert dead_letters.select_damages(connection, pending=True) == []
    assert dead_letters.select_damages(connection) == [damage]


def test_the_last_sequence_is_not_counted_from_letters(connection):
    dead_letters.insert(connection, [letter(9)])
    assert rows.select_last_sequence(connection) == 0


def test_every_field_of_a_lanes_state_is_stored(connection):
    unset = LaneState(sink="crm")
    assert [name for name, value in asdict(SET).items() if value == getattr(unset, name)] == ["sink"]
    dead_letters.replace_state(connection, SET)
    assert dead_letters.select_states(connection) == {"crm": SET}
