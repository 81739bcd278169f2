"""The demo's comparison finds whatever is wrong."""

import pytest

from listener.cli.readable import parse
from listener.cli.tally import compare, expected
from listener.simulator import Published
from support.events import disposition_event, gap_event

CHAT = "0000Na9B26EF003M"


def published(value, *, heard_by=("agent1",), key="DispositionCode"):
    return Published(
        chat_id=CHAT,
        operation="SetDisposition",
        key=key,
        value=value,
        reference_id=34,
        agents=("agent1", "agent2"),
        heard_by=heard_by,
    )


def line(sequence, value):
    return parse(disposition_event(sequence, value=value).to_json())


LEDGER = [published("A"), published("B"), published(None, key=None)]


def test_what_came_whole_once_and_in_order_is_good():
    tally = compare(LEDGER, [line(1, "A"), line(2, "B"), parse(gap_event(3).to_json())])
    assert tally.good
    assert (tally.published, tally.events, tally.gaps) == (2, 2, 1)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([line(1, "A")], {"missing": 1}),
        ([line(1, "A"), line(2, "B"), line(2, "B")], {"duplicates": 1}),
        ([line(1, "A"), line(2, "B"), line(3, "C")], {"unexpected": 1}),
        ([line(1, "A"), line(2, "B"), line(3, "B")], {"unexpected": 1}),
        ([line(1, "B"), line(2, "A")], {"out_of_order": 1}),
        ([line(1, "A"), line(2, "C")], {"missing": 1, "unexpected": 1}),
    ],
)
def test_each_fault_is_counted_and_is_not_good(lines, fault):
    tally = compare(LEDGER, lines)
    assert not tally.good
    faults = ("missing", "duplicates", "unexpected", "out_of_order")
    assert {name: getattr(tally, name) for name in faults} == dict.fromkeys(faults, 0) | fault


def test_every_session_that_heard_counts_and_an_empty_value_is_a_cleared_one():
    ledger = [published("", heard_by=("agent1", "agent2")), published("A", heard_by=())]
    assert expected(ledger) == 2
    tally = compare(ledger, [line(1, None)])
    assert (tally.published, tally.missing) == (2, 1)
