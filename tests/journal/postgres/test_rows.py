"""Values as the database stores them."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.journal.postgres import rows
from listener.model.event import JournalBatch, LastValue
from listener.testing import sample_event, sample_gap


@given(st.text("\0\x0101a"))
def test_a_text_comes_back_as_it_was_and_is_stored_without_nul(text):
    stored = rows.escaped(text)
    assert "\0" not in stored
    assert rows.unescaped(stored) == text


@given(st.text("\0\x0101a"), st.text("\0\x0101a"))
def test_different_texts_are_stored_differently(one, other):
    assert (rows.escaped(one) == rows.escaped(other)) == (one == other)


def test_a_batch_is_brought_by_column_with_the_last_of_each_value():
    values = (LastValue("c", "k", "A", "a", None, 1), LastValue("c", "k", None, "a", 5, 2))
    batch = JournalBatch(events=(sample_event(1), sample_gap(2)), values=values)
    columns = rows.batch_parameters(batch, {"c": 7}, {})
    assert len(columns) == 22
    assert columns[1] == ["event-1", "event-2"]
    assert columns[8] == ["set", None]
    assert columns[11:17] == [["c"], ["k"], [None], ["a"], [5], [2]]
    assert columns[20:] == [["c"], [7]]
    assert all(type(kind) is str for kind in [*columns[6], *columns[9]])


def test_an_event_comes_back_from_its_row():
    event = replace(sample_event(1), sequence=9, subject="\0")
    columns = rows.batch_parameters(JournalBatch(events=(event,)), {}, {})
    (received_ms, id_, type_, source, subject, time, kind, account, change, origin, data) = [c[0] for c in columns[:11]]
    row = (9, received_ms, id_, type_, source, subject, time, kind, account, change, origin, data)
    assert rows.event_of(row) == event


def test_every_statement_is_of_the_schema_that_is_configured():
    statements = rows.statements('"other"')
    assert {"append", "beat", "read"} <= set(statements)
    assert not any("disposition_listener" in text for text in statements.values())
    assert '"other".append(' in statements["append"]
