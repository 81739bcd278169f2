"""Events of an audit file, typed; each of them once; and gaps, without counting a second twice."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listener.audit.events import (
    NEAR_MS,
    GapData,
    Gaps,
    Stretch,
    _other_event_of,
    are_ours,
    epoch_ms,
    event_of,
    minutes_of,
)
from listener.model.event import rfc3339
from listener.testing.events import SAMPLE_MS, sample_event, sample_gap, sample_test
from support.reports import missed, said


def without(line, *members):
    event = json.loads(line)
    for member in members:
        event.pop(member, None)
        event["data"].pop(member, None)
    return json.dumps(event).encode()


def test_what_the_file_sink_writes_is_understood():
    event = event_of(sample_event(7, sequence=3).to_json())
    assert (event.id, event.kind, event.time_ms, event.sequence) == ("event-7", "disposition", SAMPLE_MS, "3")
    assert (event.data.disposition, event.data.reference_id) == ("IssueResolved", 7)
    assert event_of(sample_gap(1).to_json()).data.account == "agent1"
    assert event_of(sample_test("audit").to_json()).data is None


def test_fields_that_a_sink_leaves_out_cost_only_themselves():
    event = event_of(without(said(), "key", "previous", "chatId", "account", "participants", "origin", "sequence"))
    assert (event.data.disposition, event.data.previous, event.data.account) == ("IssueResolved", None, "")


def test_any_zone_becomes_utc():
    event = event_of(said("2026-11-22T10:39:00+01:00"))
    assert (event.time, event.time_ms) == ("2026-11-22T09:39:00.000Z", epoch_ms("2026-11-22T09:39:00Z"))


def test_a_gap_that_ends_before_it_begins_is_a_moment():
    data = event_of(missed("2026-11-22T09:00:01Z", "2026-11-22T09:00:00Z")).data
    start = epoch_ms("2026-11-22T09:00:01Z")
    assert data == GapData("agent1", Stretch(start, start), 0.0, "network", "poll")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\0" * 30,
        b"{",
        b"[]",
        b'{"type": "x", "id": "1"}',
        b"[" * 100_000,
        said("yesterday"),
        said("2026-11-22T09:39:00"),
        said(disposition=5),
        without(said(), "disposition"),
        without(said(), "change"),
        missed("2026-11-22T09:00:00Z", "2026-11-22T09:00:00Z").replace(b'"from":"2026', b'"from":"x'),
    ],
)
def test_what_is_no_event_is_a_value_error(line):
    with pytest.raises(ValueError, match=r"\S"):
        event_of(line)


def outcome(work, *args):
    """What a call returns, or that it refuses."""
    try:
        return work(*args)
    except ValueError:
        return ValueError


def parsed(text):
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or not datetime(1000, 1, 2, tzinfo=UTC) <= moment < datetime(9998, 12, 31, tzinfo=UTC):
        raise ValueError(text)
    return round(moment.timestamp() * 1000)


DIGIT = "0123456789"
TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001 - its zone is the Z
    lambda moment: f"{moment.isoformat(timespec='milliseconds')}Z"
)
HARM = st.lists(st.tuples(st.integers(0, 23), st.sampled_from(" 0257٣:.-+_TWZz")), max_size=3)


@given(TIMES, HARM)
@example("2026-11-22T24:00:00.000Z", [])
@example("2026-11-22T24:00:05.000Z", [])
@example("2026-W48-7T09:39:00.123Z", [])
def test_a_time_that_is_known_by_heart_is_what_it_says(time, harm):
    for place, letter in harm:
        time = time[:place] + letter + time[place + 1 :]
    for _ in range(2):
        for text in (time, f"{time[:16]}:59.999Z", f"{time[:19]}.000Z"):
            assert outcome(epoch_ms, text) == outcome(parsed, text)


@given(
    st.one_of(
        st.fixed_dictionaries({}, optional={"disposition": st.sampled_from([None, "x", 5]), "key": st.just(7)}),
        st.just({"participants": [{"nickname": "x" * 2000, "type": "Agent"}]}),
    ),
    st.sampled_from(["disposition", "gap", "test", "x", "chat.disposition", "gap.chat.disposition"]),
    st.lists(
        st.tuples(st.integers(0, 600), st.sampled_from([b"", b'"', b"}", b",", b'"data":5,', b"0", b"\\"])), max_size=2
    ),
)
def test_a_disposition_in_one_piece_is_what_it_is_in_two(data, kind, harm):
    line = said(**data).replace(b".chat.disposition", f".chat.{kind}".encode())
    for place, letter in harm:
        line = line[:place] + letter + line[place + 1 :]
    assert outcome(event_of, line) == outcome(_other_event_of, line)


S = 1000


def gaps(*stretches, from_ms=None, to_ms=None):
    found = Gaps(from_ms=from_ms, to_ms=to_ms)
    for number, (account, start, end) in enumerate(stretches):
        found.add(f"id-{number}", GapData(account, Stretch(start * S, end * S), float(end - start), "network", "poll"))
    return found


def figures(found, account=None):
    return [(one.account, one.gaps, one.seconds) for one in found.by_account(account)]


def test_seconds_that_two_gaps_share_count_once_and_accounts_count_apart():
    found = gaps(("a", 10, 30), ("a", 20, 40), ("a", 100, 101), ("b", 0, 50))
    assert figures(found) == [("b", 1, 50.0), ("a", 3, 31.0)]
    assert figures(found, "a") == [("a", 3, 31.0)]


def test_a_gap_that_comes_again_counts_once():
    found = gaps(("a", 10, 30))
    found.add("id-0", GapData("a", Stretch(10 * S, 30 * S), 20.0, "network", "poll"))
    assert figures(found) == [("a", 1, 20.0)]


@pytest.mark.parametrize(("to_s", "seconds"), [(None, 30.0), (3620, 3610.0)])
def test_a_gap_in_which_the_clock_was_set_counts_for_as_long_as_it_was_where_that_can_be_told(to_s, seconds):
    line = missed("1970-01-01T00:00:10Z", "1970-01-01T01:00:40Z").replace(b'"reason"', b'"seconds":30.0,"reason"')
    gap = event_of(line).data
    assert (gap.stretch, gap.seconds) == (Stretch(10 * S, 3640 * S), 30.0)
    found = Gaps(from_ms=None, to_ms=None if to_s is None else to_s * S)
    found.add("a", gap)
    assert found.of("agent1").seconds == seconds


def test_only_what_lies_in_the_period_counts():
    found = gaps(("a", 0, 9), ("a", 5, 15), ("a", 18, 25), ("a", 20, 30), from_ms=10 * S, to_ms=20 * S)
    assert figures(found) == [("a", 2, 7.0)]
    assert found.united() == [Stretch(10 * S, 15 * S), Stretch(18 * S, 20 * S)]


@pytest.mark.parametrize(
    ("moment_ms", "near"),
    [
        (200 * S - NEAR_MS - 1, False),
        (200 * S - NEAR_MS, True),
        (250 * S, True),
        (300 * S + NEAR_MS, True),
        (300 * S + NEAR_MS + 1, False),
        (1000 * S, True),
        (2000 * S, False),
    ],
)
def test_near_is_a_minute_around_a_gap_of_the_same_account_wherever_the_period_begins(moment_ms, near):
    found = gaps(("a", 200, 300), ("a", 1000, 1000), ("a", 210, 220), from_ms=900 * S)
    assert found.is_near("a", moment_ms) is near
    assert not found.is_near("b", moment_ms)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 900), st.integers(0, 90))), st.lists(st.integers(-99, 999))
)
def test_near_is_the_same_in_whatever_order_it_is_asked(stretches, moments):
    found = gaps(*((account, start, start + length) for account, start, length in stretches))
    for moment in moments:
        wide = [(start * S - NEAR_MS, (start + length) * S + NEAR_MS) for who, start, length in stretches if who == "a"]
        assert found.is_near("a", moment * S) == any(start <= moment * S <= end for start, end in wide)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 900), st.integers(0, 90))),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 999)), min_size=1),
)
def test_near_is_the_same_for_many_moments_at_once(stretches, moments):
    found = gaps(*((who, start, start + length) for who, start, length in stretches))
    accounts, times = [who for who, _ in moments], [rfc3339(second * S) for _, second in moments]
    assert found.are_near(accounts, times) == [found.is_near(who, second * S) for who, second in moments]


@given(
    st.lists(
        st.one_of(
            st.datetimes(timezones=st.just(UTC)).map(lambda one: rfc3339(int(one.timestamp() * 1000))),
            st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z", fullmatch=True),
            st.sampled_from(
                ["", "2026-11-22T09:39:00.123", "\ud800", "2026-11-22T09:39:60.000Z", "26-11-22T09:39:00.1234Z"]
            ),
        )
    )
)
def test_times_are_ours_where_each_is_what_we_write_of_its_moment(times):
    def is_ours(text):
        try:
            return rfc3339(epoch_ms(text)) == text
        except ValueError:
            return False

    assert are_ours(times) == all(map(is_ours, times))
    if are_ours(times):
        assert minutes_of(times) == [epoch_ms(text) // 60_000 * 60_000 for text in times]


@pytest.mark.parametrize("time", ["0999-01-01T00:00:00.000Z", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"])
def test_a_time_that_no_calendar_has_makes_no_event(time):
    """In another zone it could not be told, and its row would have a time that it did not have."""
    for line in (said(time), missed("2026-11-22T09:39:00Z", time), missed(time, "2026-11-22T09:39:00Z")):
        with pytest.raises(ValueError, match="beyond the calendar"):
            event_of(line)
