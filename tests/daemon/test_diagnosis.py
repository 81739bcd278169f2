"""What is said of what is not well: one sentence for one cause, since when, and what helps."""

import pytest
from msgspec.structs import replace

from listener.daemon.diagnosis import Diagnosis, of_accounts, of_configuration, of_dead_letters
from listener.daemon.reloading import NEEDS_RESTART
from listener.model.condition import Configuration, ReadinessProblem
from listener.model.event import JournalStats, LaneState, LaneStatus, rfc3339
from listener.model.filter import DeadLetterGroup
from listener.testing import SAMPLE_MS
from listener.web.status import ReplicaStatus
from listener.web.summary import AccountCounts, HealthProblem, Trouble

TIME = rfc3339(SAMPLE_MS)
LANE = LaneStatus(sink="crm", kind="webhook", cursor=1, lag=2, delivered=1, failures=1, parked=None, last_error=None)
STATS = JournalStats(first_sequence=1, last_sequence=3, events=3, bytes=1, cursors={}, dead_letters={}, oldest_ms=None)
LETTERS = DeadLetterGroup(
    sink="crm", reason="413", count=3, first_sequence=1, last_sequence=9, first_ms=SAMPLE_MS, last_ms=SAMPLE_MS + 1
)
REPLICA = ReplicaStatus(
    name="b",
    state="late",
    beat_age_seconds=12.0,
    joined_at=TIME,
    version="1",
    accounts=1,
    sinks=0,
    housekeeping=False,
    ready=True,
    problems=(),
)


@pytest.fixture
def diagnosis() -> Diagnosis:
    return Diagnosis(now_ms=lambda: SAMPLE_MS + 60_000, started_ms=SAMPLE_MS)


def test_a_parked_sink_has_been_so_since_the_journal_says_and_the_command_that_resumes_it_is_named(
    diagnosis: Diagnosis,
):
    stats = replace(STATS, lanes={"crm": LaneState(sink="crm", parked="401", parked_ms=SAMPLE_MS)})
    assert list(diagnosis.of_sinks([replace(LANE, parked="401"), replace(LANE, sink="bi")], stats)) == [
        HealthProblem(
            what="sink crm is parked: 401",
            since=TIME,
            kind="sink",
            help="disposition-listener sinks resume crm",
            link="#/sinks/crm",
        )
    ]


def test_a_sink_that_takes_nothing_has_not_done_so_since_its_last_progress(diagnosis: Diagnosis):
    (one,) = diagnosis.of_sinks([replace(LANE, last_error="503", stalled_s=312.0)], None)
    assert (one.what, one.since) == ("sink crm has taken nothing for 312 s: 503", rfc3339(SAMPLE_MS - 252_000))
    assert one.help == "disposition-listener sinks test crm"


def test_a_sink_that_fails_is_named_at_once_and_has_failed_since_its_first_failure_in_a_row(diagnosis: Diagnosis):
    (one,) = diagnosis.of_sinks([replace(LANE, last_error="503", stalled_s=1.0, failing_s=5.0)], None)
    assert (one.what, one.since) == ("sink crm is failing: 503", rfc3339(SAMPLE_MS + 55_000))


def test_accounts_with_the_same_trouble_are_one_sentence():
    def told(what: str, *accounts: str) -> Trouble:
        return Trouble(what=what, count=len(accounts), accounts=accounts, first_at=TIME, last_at=TIME)

    troubles = [
        told("no subscription: denied", "alice", "bob"),
        told("silent for longer than it should be", "carol"),
        told("no subscription: connecting", "dave"),
        told("silent for longer than it should be", "eve", "fay"),
        told("email is not heard", "gil", "hal"),
    ]
    counts = AccountCounts(total=9, subscribed=3, troubled=8)
    assert [one.what for one in of_accounts(counts, troubles)] == [
        "2 accounts have no subscription: denied",
        "account carol is silent for longer than it should be",
        "account dave has no subscription: connecting",
        "2 accounts are silent for longer than it should be",
        "2 accounts: email is not heard",
    ]
    many = [told(f"no subscription: {number}", "alice") for number in range(12)]
    counts = AccountCounts(total=99, subscribed=0, troubled=99)
    assert [one.what for one in of_accounts(counts, many)][10:] == ["89 more accounts have other troubles"]


def test_a_journal_that_fails_has_done_so_since_that_was_seen_first():
    now_ms = SAMPLE_MS
    diagnosis = Diagnosis(now_ms=lambda: now_ms, started_ms=0)
    problem = ReadinessProblem(brief="b", full="the journal cannot commit: disk full", kind="journal")
    diagnosis.look([problem])
    now_ms += 5000
    diagnosis.look([problem])
    assert list(diagnosis.of_the_process([problem])) == [HealthProblem(what=problem.full, since=TIME, kind="journal")]
    diagnosis.look([])
    diagnosis.look([problem])
    assert next(diagnosis.of_the_process([problem])).since == rfc3339(SAMPLE_MS + 5000)


def test_a_start_that_waits_has_done_so_since_the_process_began(diagnosis: Diagnosis):
    (one,) = diagnosis.of_the_process([ReadinessProblem(brief="starting", full="starting", kind="start")])
    assert (one.what, one.since, one.kind) == ("starting", TIME, "start")


def test_a_replica_that_does_not_beat_is_told_of(diagnosis: Diagnosis):
    (one,) = diagnosis.of_replicas([REPLICA, replace(REPLICA, name="c", state="alive")], "a")
    assert (one.what, one.since) == ("replica b has not beaten for 12 s", rfc3339(SAMPLE_MS + 48_000))


def test_of_another_replica_what_is_wrong_with_its_process_is_told_and_accounts_and_sinks_are_not_told_twice(
    diagnosis: Diagnosis,
):
    problems = (
        "account alice has no subscription: denied",
        "sink crm is parked: 401",
        "the journal cannot commit: full",
    )
    ill = replace(REPLICA, state="alive", problems=problems, ready=False)
    (one,) = diagnosis.of_replicas([ill], "a")
    assert (one.what, one.since) == ("replica b says: the journal cannot commit: full", TIME)
    assert list(diagnosis.of_replicas([ill], "b")) == []


def test_a_sink_that_no_replica_has_is_told_of(diagnosis: Diagnosis):
    (one,) = diagnosis.of_sinks([LANE, replace(LANE, sink="bi")], None, ["bi"])
    assert (one.what, one.link) == ("sink bi has no replica that delivers to it", "#/sinks/bi")


def test_a_configuration_that_was_refused_is_told_of_with_its_first_problem():
    assert list(of_configuration(Configuration(loaded_ms=0))) == []
    (one,) = of_configuration(Configuration(loaded_ms=0, refused_ms=SAMPLE_MS, problems=("sinks.crm: no", "b", "c")))
    assert one.what == "the configuration was refused, and the one before stays in force: sinks.crm: no (and 2 more)"
    assert (one.since, one.kind, one.help) == (TIME, "configuration", "disposition-listener check")
    fixed = (f"disposition.media: {NEEDS_RESTART}",)
    (one,) = of_configuration(Configuration(loaded_ms=0, refused_ms=SAMPLE_MS, problems=fixed))
    assert one.help == "systemctl restart disposition-listener"


def test_dead_letters_wait_for_a_person_since_the_first_of_them():
    others = replace(LETTERS, reason="422", count=1, first_ms=SAMPLE_MS - 1000)
    (one,) = of_dead_letters({"crm": 4, "bi": 0}, [LETTERS, others])
    assert one.what == "sink crm has 4 dead letters: 413 (and 1 other reasons)"
    assert (one.since, one.help) == (
        rfc3339(SAMPLE_MS - 1000),
        "disposition-listener dead-letters list --sink crm",
    )
    assert next(of_dead_letters({"crm": 1}, [replace(LETTERS, count=1)])).what == "sink crm has 1 dead letter: 413"
    assert list(of_dead_letters(None, [])) == []
