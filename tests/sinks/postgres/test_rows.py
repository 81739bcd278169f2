import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.model.forms import CLOUD_EVENT
from listener.sinks.postgres.rows import by_column, insertion, portions, row_of
from listener.testing.events import sample_event

EVENT = sample_event(1, sequence=1)
TEXTS = st.text(alphabet=st.sampled_from('\\"u0x\x00é'))


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS)))
def test_data_is_kept_to_the_letter_but_for_nul(data):
    row = row_of(replace(EVENT, data=json.dumps(data).encode()), CLOUD_EVENT)

    def without(value):
        if isinstance(value, dict):
            return {without(name): without(item) for name, item in value.items()}
        return [without(item) for item in value] if isinstance(value, list) else value.replace("\0", "\ufffd")

    assert json.loads(row.data) == without(data)
    assert "\\u0000" not in row.data.replace("\\\\", "")


def test_the_event_is_kept_to_the_letter_and_other_columns_hold_no_nul():
    event = replace(EVENT, subject="a\0b", data=b'{"key":"\\u0000"}')
    row = row_of(event, CLOUD_EVENT)
    assert row.event == event.to_json().decode()
    assert row.subject == "a\ufffdb"
    assert not any("\0" in column for column in row if isinstance(column, str))


def test_parameters_stand_in_the_order_of_the_statement():
    rows = [row_of(EVENT, CLOUD_EVENT), row_of(sample_event(2, sequence=2), CLOUD_EVENT)]
    columns = by_column(rows)
    assert columns[1] == ["event-1", "event-2"]
    assert columns[5] == [1, 2]
    assert by_column([]) == [[]] * len(columns)
    assert insertion('"t"').startswith('INSERT INTO "t" (source, id, type, subject, time, sequence, data, event) ')


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (3, [3]), (25, [13, 12])])
def test_many_bytes_go_in_portions_of_their_order(count, expected):
    rows = [row_of(sample_event(n, sequence=n, data_bytes=620_000), CLOUD_EVENT) for n in range(1, count + 1)]
    found = list(portions(rows))
    assert [len(portion) for portion in found] == expected
    assert [row for portion in found for row in portion] == rows
