"""The lines in which `status` tells a summary."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.cli.standing import gap_marks, lines, sparkline
from listener.web.summary import (
    AccountCounts,
    HealthProblem,
    HourGap,
    LastHour,
    OpenGap,
    OpenGaps,
    Rates,
    Summary,
    Trouble,
)
from support.pages import SINK, SUMMARY

TIME = "2026-11-22T09:37:00.123Z"
WELL = replace(
    SUMMARY,
    rates=Rates(events_per_second=2.25, deliveries_per_second=4.5),
    accounts=AccountCounts(total=200, subscribed=188, troubled=12),
    sinks=(SINK, replace(SINK, sink="audit", kind="file", lag_events=0, lag_seconds=0.0, dead_letters=0)),
)
DENIED = "no subscription: login_refused: HTTP 401 for …"
ILL = replace(
    WELL,
    health=(
        HealthProblem(
            what="sink crm is parked: 401",
            since=TIME,
            kind="sink",
            help="disposition-listener sinks resume crm",
        ),
        HealthProblem(what=f"12 accounts have {DENIED}", since=TIME, kind="accounts"),
    ),
    troubles=(
        Trouble(what=DENIED, count=12, accounts=tuple(f"agent{n}" for n in range(10)), first_at=TIME, last_at=TIME),
    ),
    open_gaps=OpenGaps(count=12, oldest_at=TIME, newest=(OpenGap(account="agent1", since=TIME, why="denied"),)),
    sinks=(replace(SINK, parked="401"),),
)


def told(summary: Summary, *, is_running: bool = True, config: Path | None = None, width: int = 80) -> list[str]:
    return [line.plain for line in lines(summary, is_running=is_running, config=config, width=width)]


def test_what_is_well_takes_a_few_lines():
    hour = replace(WELL.last_hour, events=(*[0] * 58, 7, 3), delay_ms=(*[None] * 58, 12_000, 20))
    assert told(replace(WELL, last_hour=hour)) == [
        "all is well",
        "host · https://gws.example · 200 accounts, 188 subscribed · running for 0 s · version 1",
        "",
        "last hour       " + "▁" * 58 + "█▄",
        "events          10, at most 7 a minute; now 2.2 received and 4.5 delivered a second",
        "delay           12 s at most from receipt to delivery",
        "gaps            0 closed; 0 running",
        "",
        "sink   kind     to go      oldest  dead  state",
        "crm    webhook     12  1 min 35 s     3  running",
        "audit  file         0           -     0  running",
    ]


def test_what_is_not_well_is_told_with_since_when_who_and_what_helps():
    found = told(ILL, config=Path("/etc/some where.toml"))
    assert found[0] == "2 things are not well"
    assert found[3:8] == [
        "sink crm is parked: 401",
        "    since 2026-11-22T09:37:00Z (2 min)",
        "    disposition-listener sinks resume crm --config '/etc/some where.toml'",
        "",
        f"12 accounts have {DENIED}",
    ]
    assert found[8] == ("    since 2026-11-22T09:37:00Z (2 min): agent0, agent1, agent2, agent3, agent4 and 7 more")
    assert "gaps            0 closed; 12 running, the oldest since 2026-11-22T09:37:00Z" in found
    assert found[-1].endswith("parked: 401")


def test_without_a_daemon_nothing_is_told_to_run():
    summary = replace(WELL, build=None, configuration=None, rates=None, last_hour=None, server="")
    found = told(summary, is_running=False)
    assert found[1] == "host · 200 accounts, 188 subscribed"
    assert [line.split()[-1] for line in found[-2:]] == ["-", "-"]


def test_of_replicas_who_has_a_sink_is_told():
    assert told(replace(WELL, sinks=(replace(SINK, replica="b"), replace(SINK, sink="bi"))))[-3:] == [
        "sink  kind     to go      oldest  dead  replica  state",
        "crm   webhook     12  1 min 35 s     3  b        running",
        "bi    webhook     12  1 min 35 s     3  -        running",
    ]


def test_a_narrow_terminal_gets_the_newest_minutes():
    gap = HourGap(account="alice", from_=TIME, to="2026-11-22T09:39:30.000Z", seconds=90.0, reason="network")
    hour = replace(WELL.last_hour, gaps=(gap,), events=(*[None] * 50, *[1] * 10))
    found = told(replace(WELL, last_hour=hour), width=36)
    assert found[3:5] == ["last 10 minutes " + "·" * 10 + "█" * 10, " " * 35 + "^"]
    assert "gaps            1 closed, 1 min 30 s together; 0 running" in found


@settings(max_examples=30)
@given(st.lists(st.none() | st.integers(0, 10**6), min_size=60, max_size=60))
def test_a_sparkline_has_a_character_a_minute_that_rises_with_the_count(events: list[int | None]):
    assert SUMMARY.last_hour is not None
    hour: LastHour = replace(SUMMARY.last_hour, events=tuple(events))
    line = sparkline(hour)
    assert len(line) == 60
    known = sorted((count, bar) for count, bar in zip(events, line, strict=True) if count is not None)
    assert [bar for _, bar in known] == sorted(bar for _, bar in known)
    assert all((bar == "▁") == (count == 0) for count, bar in known)
    assert all((bar == "·") == (count is None) for count, bar in zip(events, line, strict=True))
    assert set(gap_marks(hour)) <= {" "}


def test_nothing_from_outside_drives_the_terminal():
    ill = replace(ILL, health=(replace(ILL.health[0], what="a\x1b[2Jb\n"),), sinks=(replace(SINK, parked="\x07"),))
    assert all(line.isprintable() for line in told(ill))
