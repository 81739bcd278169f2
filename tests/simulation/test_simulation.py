"""Worlds that are played each time: a fixed set of seeds, a few new ones, the open cases, and what was mended."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("simloop", reason="simloop, the simulated event loop, needs Python 3.12")

from listener.simulator import MEDIA
from simulation.cli import command_of
from simulation.draws import draw
from simulation.explore import Outcome, play, play_seed
from simulation.gap_oracle import EARLIER, LATER
from simulation.judge import judge
from simulation.known import CASES, OpenCase
from simulation.mutants import ALL
from simulation.schedule import (
    Advise,
    AnyFault,
    ClockJump,
    CutOff,
    DatabaseRestart,
    DatabaseSlow,
    Deny,
    DiskFull,
    DiskStall,
    Drain,
    Duplicate,
    Expire,
    Fail,
    FilesTaken,
    Forget,
    Freeze,
    Garbled,
    Kill,
    KillReplica,
    LoseLogins,
    Namesake,
    OperatorResends,
    Partition,
    ReadTimeout,
    ReceiverAnswers,
    ReceiverChokes,
    ReceiverHangs,
    Refuse,
    RefuseInBayeux,
    RefuseTopic,
    ReplicaClock,
    Reset,
    Restart,
    RestartReplica,
    RollingRestart,
    RotateCsrf,
    Schedule,
    Second,
    ServerRestart,
    Slow,
    StandIn,
    Supervisor,
)
from simulation.shrink import shrunk
from simulation.world import World

OPEN = [pytest.param(case, marks=pytest.mark.xfail(strict=True, reason=case.text), id=case.id) for case in CASES]
ROOT = Path(__file__).parents[2]
FIXED = range(24)
REPLICAS = 3
FRESH_OF_REPLICAS = 8
FRESH = [random.SystemRandom().randrange(10**6, 10**9) for _ in range(4)]


def told(outcome: Outcome) -> str:
    """What a failure prints: the command that plays it again, and the findings."""
    return "\n".join([command_of(outcome.plan), *map(str, outcome.unknown)])


def assert_nothing_is_found(outcome: Outcome) -> None:
    """But what the open cases explain."""
    assert outcome.unknown == [], told(outcome)


@pytest.mark.parametrize("seed", FIXED)
def test_nothing_is_found_but_open_cases(seed: int):
    assert_nothing_is_found(play_seed(seed))


@pytest.mark.parametrize("place", range(len(FRESH)))
def test_nor_by_seeds_that_nobody_has_tried(place: int):
    assert_nothing_is_found(play_seed(FRESH[place]))


@pytest.mark.parametrize("place", range(FRESH_OF_REPLICAS))
def test_nor_where_three_replicas_share_a_journal(place: int):
    assert_nothing_is_found(play_seed(random.SystemRandom().randrange(10**6, 10**9), REPLICAS))


@pytest.mark.parametrize("seed", [11, 190, 1186, *FRESH[:2]], ids=["11", "190", "1186", "fresh", "fresher"])
def test_nor_where_emails_and_calls_come_beside_chats(seed: int):
    assert_nothing_is_found(play_seed(seed, media=True))


@pytest.mark.parametrize("seed", [37, 44, *FRESH[2:]], ids=["37", "44", "fresh", "fresher"])
def test_nor_where_a_supervisor_hears_a_team(seed: int):
    assert_nothing_is_found(play_seed(seed, team=True))


def test_nor_where_replicas_hear_other_media():
    for outcome in (play_seed(1, REPLICAS, media=True), play_seed(90000046, REPLICAS, media=True)):
        assert outcome.unknown == [], told(outcome)


@pytest.mark.parametrize("case", OPEN)
def test_an_open_case_is_mended(case: OpenCase):
    outcome = play(case.schedule)
    assert case.id not in outcome.known


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_an_open_case_is_shown_by_its_schedule_and_explains_all_of_it(case: OpenCase):
    outcome = play(case.schedule)
    assert outcome.known[case.id].promise == case.promise
    assert outcome.unknown == [], told(outcome)


# --- the same seed, the same world ------------------------------------------------------------------------------------


def test_a_seed_plays_alike_twice():
    assert [play_seed(seed).trace for seed in (1, 2, 3)] == [play_seed(seed).trace for seed in (1, 2, 3)]


def test_a_seed_plays_alike_in_another_process_whatever_its_hashes():
    traces = set()
    for hash_seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "3"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        )
        traces.add(next(line.split()[1].rstrip(",") for line in done.stdout.splitlines() if line.startswith("trace")))
    assert traces == {play_seed(3).trace}


def test_a_seed_of_replicas_does_too():
    assert len({play_seed(0, REPLICAS).trace for _ in range(2)}) == 1


@pytest.mark.parametrize("replicas", [0, REPLICAS])
def test_a_schedule_is_printed_and_read_again(replicas: int):
    for seed in range(200):
        assert Schedule.from_json(draw(seed, replicas).to_json()) == draw(seed, replicas)


def test_a_schedule_shrinks_to_what_it_takes():
    plan = draw(15)
    kind = type(plan.faults[-1])
    small = shrunk(plan, lambda candidate: any(isinstance(fault, kind) for fault in candidate.faults))
    assert [type(fault) for fault in small.faults] == [kind]


def test_the_page_lists_the_open_cases_the_mutants_and_how_long_a_gap_may_be():
    page = (ROOT / "docs" / "simulation.md").read_text(encoding="utf-8")
    assert [one for one in (*LATER, *EARLIER) if f"| {one.when} | {one.most} | {one.text} |" not in page] == []
    assert [case.id for case in CASES if f"| `{case.id}` | {case.text} |" not in page] == []
    assert [name for name, mutant in ALL.items() if f"| {name} | {mutant.text} |" not in page] == []


# --- what the simulation found, and what was mended -------------------------------------------------------------------


def _small(
    seed: int, *faults: AnyFault, ack: bool, hold_ms: int, lasts_s: float, accounts: int = 2, sliced: bool = False
) -> Schedule:
    return Schedule(
        seed=seed,
        ack=ack,
        accounts=accounts,
        hold_ms=hold_ms,
        csrf=False,
        batched=False,
        sliced=sliced,
        lasts_s=lasts_s,
        faults=faults,
    )


def test_a_change_between_the_first_look_and_the_subscription_is_no_sign_of_death():
    assert_nothing_is_found(play(_small(41, RotateCsrf(at=30.0), ack=True, hold_ms=8000, lasts_s=40.0)))


def test_a_notification_that_comes_twice_in_one_answer_is_one():
    slow, twice = Slow(at=7.919, for_s=9.385, by_ms=4000), Duplicate(at=12.726, count=1)
    assert_nothing_is_found(play(_small(75, slow, twice, ack=True, hold_ms=3000, lasts_s=90.0)))


@pytest.mark.parametrize("status", [202, 203, 206])
def test_an_answer_under_another_2xx_is_taken(status: int):
    dressed = StandIn(at=8.0, status=status, count=1, keeps_body=True, only="messages")
    assert_nothing_is_found(play(_small(0, dressed, ack=False, hold_ms=5000, lasts_s=14.0)))


@pytest.mark.parametrize("status", [202, 302, 401, 403, 404, 408, 503])
def test_a_gateways_answer_in_place_of_one_with_events_leaves_a_gap(status: int):
    stand_in = StandIn(at=8.0, status=status, count=1, keeps_body=False, only="messages")
    assert_nothing_is_found(play(_small(0, stand_in, ack=False, hold_ms=5000, lasts_s=14.0)))


@pytest.mark.parametrize("ack", [True, False])
def test_a_proxy_that_cuts_every_poll_is_learned(ack: bool):
    """Otherwise each poll is cut, and without acknowledgements leaves a gap, for ever."""
    proxy = ReadTimeout(at=8.0, for_s=240.0, limit_s=2.5)
    assert_nothing_is_found(play(_small(0, proxy, ack=ack, hold_ms=8000, lasts_s=250.0)))


@pytest.mark.parametrize("named", ["1000000000000", "1795904246"])
def test_a_receiver_that_asks_for_a_pause_of_years_is_told_of_and_gets_everything(named: str):
    assert_nothing_is_found(
        play(
            _small(
                0,
                ReceiverAnswers(at=8.0, for_s=4.0, status=429, retry_after=named),
                ack=False,
                hold_ms=5000,
                lasts_s=18.0,
            )
        )
    )


def test_a_pause_that_a_receiver_asks_for_is_shown_for_as_long_as_it_lasts_whatever_the_wall_clock_says():
    absurd = ReceiverAnswers(at=8.0, for_s=4.0, status=429, retry_after="1000000000000")
    step = ClockJump(host="listener", by_s=90_000.0, at=11.0)
    assert_nothing_is_found(play(_small(0, absurd, step, ack=True, hold_ms=5000, lasts_s=30.0)))


@pytest.mark.parametrize("seed", [1, 2])
def test_what_an_operator_has_delivered_again_comes_once_more_in_order_and_nothing_else_does(seed: int):
    plan = _small(seed, OperatorResends(at=25.0, since_s=15.0, until_s=5.0), ack=True, hold_ms=5000, lasts_s=40.0)
    evidence = World(plan).play()
    assert judge(plan, evidence) == []
    (wanted,) = evidence.wanted_again
    times = Counter(post.id for post in evidence.posted)
    assert times == Counter(event.id for event in evidence.journal) + Counter(wanted.ids)
    place = {event.id: (event.subject, event.sequence) for event in evidence.journal}
    seen: set[str] = set()
    again = [place[post.id] for post in evidence.posted if post.id in seen or seen.add(post.id)]  # type: ignore[func-returns-value]
    assert len(again) == len(wanted.ids) > 0
    assert sorted(again) == [one for chat in sorted({chat for chat, _ in again}) for one in again if one[0] == chat]


@pytest.mark.parametrize(
    "fault",
    [
        Kill(at=25.1, for_s=1.0, power=True),
        Restart(at=25.1, for_s=1.0),
        ReceiverAnswers(at=24.0, for_s=9.0, status=503),
        ReceiverHangs(at=24.0, for_s=9.0),
        DiskFull(at=25.01, for_s=9.0),
    ],
)
def test_whatever_goes_wrong_meanwhile_it_comes_again(fault: AnyFault):
    resends = OperatorResends(at=25.0, since_s=20.0, until_s=0.0)
    faults = sorted((fault, resends), key=lambda one: one.at)
    plan = _small(1, *faults, ack=True, hold_ms=5000, lasts_s=40.0)
    evidence = World(plan).play()
    assert judge(plan, evidence) == []
    assert [len(wanted.ids) > 5 for wanted in evidence.wanted_again] == [True]


def test_of_a_receiver_that_refuses_everything_no_event_is_dead_in_the_end():
    plan = _small(1, ReceiverAnswers(at=8.0, for_s=40.0, status=422), ack=True, hold_ms=5000, lasts_s=60.0)
    evidence = World(plan).play()
    assert judge(plan, evidence) == []
    assert len(evidence.posted) > 40
    assert evidence.letters == []


def test_what_a_broken_receiver_refused_comes_before_what_is_younger_although_it_was_a_resend_that_parked_the_sink():
    refusing, again = (
        ReceiverAnswers(at=40.538, for_s=20.274, status=422),
        OperatorResends(at=41.101, since_s=4000.0, until_s=0.0),
    )
    full, kill = DiskFull(at=42.106, for_s=20.219), Kill(power=False, at=55.424, for_s=1.0)
    plan = _small(120000047, refusing, again, full, kill, ack=True, hold_ms=8000, lasts_s=60.0, accounts=3)
    assert_nothing_is_found(play(plan))


def test_an_event_that_a_receiver_cannot_take_is_set_aside_and_holds_no_other_up():
    plan = _small(1, ReceiverChokes(at=8.0, for_s=50.0), ack=True, hold_ms=5000, lasts_s=60.0)
    evidence = World(plan).play()
    assert judge(plan, evidence) == []
    (letter,) = evidence.letters
    assert letter.reason.endswith("while others were")
    recorded = {one.event.id: one.at for one in evidence.recorded if one.event.id != letter.event_id}
    assert max(one.at - recorded[one.id] for one in evidence.posted) < 30.0


@pytest.mark.parametrize("suffixes", [("-wal", "-shm"), ("",), ("", "-wal", "-shm", ".lock")])
def test_files_that_are_removed_beneath_the_listener_cost_nothing(suffixes):
    taken, kill = FilesTaken(at=20.0, suffixes=suffixes), Kill(at=25.0, for_s=1.0, power=False)
    assert_nothing_is_found(play(_small(7, taken, kill, ack=True, hold_ms=3000, lasts_s=40.0)))


def test_a_file_is_free_for_the_next_process_although_the_disk_was_slow_when_it_was_to_be_closed():
    slow, restart = DiskStall(by_s=3.0, at=10.593, for_s=20.277), Restart(at=19.975, for_s=4.0)
    assert_nothing_is_found(play(_small(310459, slow, restart, ack=False, hold_ms=3000, lasts_s=60.0, accounts=3)))


def test_what_a_slow_disk_has_begun_stands_in_the_way_of_a_session_beyond_the_end_of_its_slowness():
    slow, kill = DiskStall(by_s=3.0, at=38.62, for_s=7.06), Kill(power=False, at=38.663, for_s=1.0)
    assert_nothing_is_found(
        play(_small(95001561, slow, kill, ack=True, hold_ms=5000, lasts_s=60.0, accounts=3, sliced=True))
    )


def test_a_session_that_is_lost_while_the_disk_is_full_is_back_as_soon_as_it_is_not():
    full, expire = DiskFull(at=11.172, for_s=9.311), Expire(agent="agent1", at=17.826)
    assert_nothing_is_found(play(_small(128000146, full, expire, ack=True, hold_ms=3000, lasts_s=40.0, sliced=True)))


def test_a_login_that_is_renewed_while_the_disk_is_full_is_followed_by_a_poll_at_once():
    assert_nothing_is_found(
        play(
            _small(
                95001988,
                Partition(host="gws", at=9.932, for_s=4.297),
                DiskFull(at=10.022, for_s=20.101),
                Fail(status=403, count=1, target="any", at=20.861),
                Partition(host="gws", at=24.16, for_s=12.149),
                ack=True,
                hold_ms=5000,
                lasts_s=40.0,
                accounts=3,
            )
        )
    )


def test_a_look_that_a_full_disk_held_up_is_followed_by_another_which_finds_that_the_subscription_died_meanwhile():
    full, forget = DiskFull(at=25.152, for_s=12.403), Forget(agent="agent2", at=27.94)
    kill = Kill(power=False, at=55.947, for_s=1.0)
    outcome = play(_small(120001896, full, forget, kill, ack=True, hold_ms=3000, lasts_s=60.0))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


def test_a_notification_that_repeats_the_value_known_makes_it_newer_than_what_is_being_read():
    twice = ServerRestart(at=21.071, for_s=0.79), ServerRestart(at=31.459, for_s=9.402)
    assert_nothing_is_found(play(_small(9596, *twice, ack=True, hold_ms=5000, lasts_s=60.0)))


def test_chats_that_were_lost_before_a_power_cut_stay_lost_though_the_clock_is_set_back_meanwhile():
    site = Supervisor(
        own=2,
        overlap=0,
        hears_properties=True,
        dropped_on_leave=False,
        survives_login=False,
        monitor_again=False,
        intrude=False,
        needs_session=True,
    )
    plan = _small(
        112000002,
        LoseLogins(at=22.411, for_s=0.0),
        Kill(power=True, at=28.347, for_s=4.0),
        ClockJump(host="listener", by_s=-30.0, at=29.406),
        ServerRestart(at=46.043, for_s=12.103),
        ack=True,
        hold_ms=3000,
        lasts_s=60.0,
        accounts=3,
    )
    assert_nothing_is_found(play(msgspec.structs.replace(plan, team=site)))


def test_a_wall_clock_that_is_set_back_during_a_look_makes_nothing_older():
    assert_nothing_is_found(
        play(
            _small(
                816,
                Partition(host="gws", at=38.284, for_s=9.134),
                ClockJump(host="gws", by_s=-3600.0, at=39.624),
                ClockJump(host="listener", by_s=-30.0, at=46.789),
                ack=True,
                hold_ms=8000,
                lasts_s=60.0,
            )
        )
    )


def test_older_changes_that_another_account_brings_late_do_not_hide_what_was_read():
    assert_nothing_is_found(
        play(
            _small(
                7605,
                Refuse(host="gws", at=6.159, for_s=12.457),
                Kill(power=False, at=12.561, for_s=1.0),
                Deny(agent="agent2", count=4, at=17.696),
                Fail(status=500, count=3, target="notifications", at=24.303),
                ack=False,
                hold_ms=8000,
                lasts_s=40.0,
            )
        )
    )


def test_who_comes_back_into_a_chat_during_the_first_look_of_a_process_was_not_deaf():
    restart = Restart(at=29.587, for_s=1.0)
    assert_nothing_is_found(play(_small(150003443, restart, ack=False, hold_ms=3000, lasts_s=60.0)))


def test_who_joins_a_chat_in_which_a_deaf_agent_missed_a_change_is_not_deaf_himself():
    deaf = RefuseInBayeux(agent="agent1", error="401::Authentication invalid", at=8.0)
    assert_nothing_is_found(play(_small(7, deaf, ack=False, hold_ms=5000, lasts_s=60.0)))


@pytest.mark.parametrize("by_s", [-3600.0, -30.0, 3600.0])
def test_a_gap_has_its_true_length_whatever_is_done_to_the_clock_meanwhile(by_s: float):
    outage, step = Refuse(host="gws", at=8.0, for_s=12.0), ClockJump(host="listener", by_s=by_s, at=14.0)
    assert_nothing_is_found(play(_small(0, outage, step, ack=False, hold_ms=5000, lasts_s=26.0)))


@pytest.mark.parametrize("by_s", [-3600.0, 3600.0])
def test_so_has_one_over_a_restart(by_s: float):
    killed, step = Kill(power=False, at=8.0, for_s=4.0), ClockJump(host="listener", by_s=by_s, at=10.0)
    assert_nothing_is_found(play(_small(0, killed, step, ack=False, hold_ms=5000, lasts_s=26.0)))


def test_what_a_session_that_goes_on_after_a_kill_was_not_told_leaves_a_gap():
    killed, deaf = Kill(power=True, at=26.092, for_s=15.0), Forget(agent="agent1", at=29.252)
    outcome = play(_small(488, killed, deaf, ack=True, hold_ms=3000, lasts_s=40.0))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


def test_a_subscription_forgotten_while_no_process_ran_hides_nothing_that_no_open_case_explains():
    killed, deaf = Kill(power=False, at=41.247, for_s=15.0), Forget(agent="agent2", at=47.209)
    plan = _small(609, killed, deaf, ack=True, hold_ms=3000, lasts_s=60.0)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, accounts=3, sliced=True)))


def test_what_is_found_after_a_kill_is_on_record_up_to_where_the_session_was_subscribed_again():
    full, killed = DiskFull(at=34.214, for_s=7.443), Kill(power=False, at=38.775, for_s=1.0)
    deaf = Forget(agent="agent1", at=49.335)
    assert_nothing_is_found(play(_small(1945, full, killed, deaf, ack=True, hold_ms=8000, lasts_s=60.0)))


def _of_media(plan: Schedule) -> Schedule:
    return msgspec.structs.replace(plan, media=tuple(MEDIA))


def test_a_topic_is_asked_for_again_once_the_outage_is_over_that_put_it_off():
    """Nothing else would: a session with acknowledgements goes on without a gap."""
    refused, outage = (
        RefuseTopic(topic="/v2/me/emails", at=18.427, for_s=25.0),
        Partition(host="gws", at=53.5, for_s=7.2),
    )
    plan = _small(53000041, refused, outage, ack=True, hold_ms=3000, lasts_s=90.0, accounts=3, sliced=True)
    assert_nothing_is_found(play(_of_media(plan)))


def test_what_a_killed_process_owed_is_read_by_the_next_as_soon_as_its_session_goes_on():
    down, full = ServerRestart(at=18.823, for_s=20.235), DiskFull(at=40.307, for_s=0.616)
    plan = _small(71000064, down, full, Kill(power=False, at=40.749, for_s=1.0), ack=True, hold_ms=8000, lasts_s=60.0)
    assert_nothing_is_found(play(_of_media(plan)))


def test_what_is_lost_beside_a_poll_leaves_a_gap_that_does_not_last_as_long_as_the_poll():
    plan = _small(71000094, Garbled(kind="html", at=23.977), ack=False, hold_ms=5000, lasts_s=60.0, accounts=3)
    assert_nothing_is_found(play(_of_media(plan)))


def test_a_gap_of_a_supervisor_may_hide_that_it_was_taken_out_of_a_chat():
    team = Supervisor(
        own=0,
        overlap=0,
        hears_properties=True,
        dropped_on_leave=True,
        survives_login=False,
        monitor_again=True,
        intrude=True,
        needs_session=True,
    )
    killed = Kill(power=False, at=9.745, for_s=15.0)
    plan = _small(74000167, killed, ack=True, hold_ms=3000, lasts_s=90.0, accounts=3)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, team=team)))


def test_gaps_that_follow_each_other_put_off_the_look_that_finds_a_dead_subscription():
    plan = _small(
        444,
        ReadTimeout(limit_s=1.2, at=58.82, for_s=90.0),
        Refuse(host="gws", at=65.415, for_s=4.416),
        Forget(agent="agent3", at=72.731),
        Slow(by_ms=900, at=81.046, for_s=20.349),
        ack=False,
        hold_ms=3000,
        lasts_s=90.0,
    )
    assert_nothing_is_found(play(msgspec.structs.replace(plan, accounts=3)))


PUT_OFF = {
    "a login that the REST API confirms and CometD refuses": _small(
        150006915,
        Kill(power=False, at=28.693, for_s=4.0),
        Refuse(host="gws", at=32.126, for_s=1.548),
        RefuseInBayeux(agent="agent1", error="403::Handshake denied", at=32.227),
        ack=False,
        hold_ms=3000,
        lasts_s=60.0,
        sliced=True,
    ),
    "a session that the server ends with its first poll": _small(
        150008221,
        ReceiverHangs(at=39.894, for_s=20.031),
        Deny(agent="agent1", count=4, at=42.95),
        Advise(agent="agent1", kind="none", interval_ms=0, successful=True, at=43.42),
        ack=True,
        hold_ms=5000,
        lasts_s=60.0,
    ),
    "a session after which the server wants another, with its first poll": _small(
        190005950,
        Deny(agent="agent2", count=4, at=20.267),
        Advise(agent="agent2", kind="handshake", interval_ms=0, successful=True, at=25.184),
        ack=False,
        hold_ms=3000,
        lasts_s=60.0,
        accounts=3,
    ),
    "a look that a restart cut off": _small(
        160000393,
        ServerRestart(at=31.41, for_s=7.157),
        Forget(agent="agent3", at=39.73),
        Restart(at=57.314, for_s=0.2),
        ack=False,
        hold_ms=8000,
        lasts_s=60.0,
        accounts=3,
    ),
    "looks that fail, and a gap": _small(
        150006120,
        Forget(agent="agent1", at=34.131),
        Reset(host="gws", at=46.265),
        Fail(status=503, count=5, target="rest", at=55.548),
        Refuse(host="gws", at=82.477, for_s=9.402),
        ack=False,
        hold_ms=8000,
        lasts_s=90.0,
    ),
}


@pytest.mark.parametrize("plan", PUT_OFF.values(), ids=PUT_OFF)
def test_what_puts_the_end_of_a_gap_off_is_known(plan: Schedule):
    assert_nothing_is_found(play(plan))


def test_a_forgotten_subscription_is_found_by_the_look_that_is_due_an_interval_behind_the_one_before():
    refused, deaf = Refuse(host="gws", at=23.166, for_s=12.415), Forget(agent="agent2", at=36.87)
    outcome = play(_small(1009, refused, deaf, ack=True, hold_ms=3000, lasts_s=60.0))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


def test_an_interval_that_was_advised_to_a_session_does_not_put_off_the_next_one():
    long = Advise(agent="agent2", kind="interval", interval_ms=1e18, successful=True, at=28.713)
    plan = _small(2226, long, ServerRestart(at=47.484, for_s=20.158), ack=False, hold_ms=8000, lasts_s=60.0)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, accounts=3)))


def test_a_session_whose_last_poll_the_server_still_held_is_not_given_up_too_early():
    refused, lost = Refuse(host="gws", at=10.181, for_s=12.057), LoseLogins(at=18.129, for_s=3.0)
    assert_nothing_is_found(play(_small(1854, refused, lost, ack=True, hold_ms=3000, lasts_s=40.0)))


def test_without_acknowledgements_an_answer_beside_the_polls_does_not_overtake_what_is_older():
    cut = Partition(host="gws", at=37.402, for_s=4.273)
    outcome = play(_small(967, cut, ack=False, hold_ms=5000, lasts_s=60.0, accounts=3))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


def test_what_a_look_has_found_is_on_record_where_a_gap_comes_before_it_is_explained():
    refused = Refuse(host="gws", at=31.429, for_s=12.29)
    outcome = play(
        _small(70001090, Forget(agent="agent2", at=19.357), refused, ack=True, hold_ms=3000, lasts_s=40.0, sliced=True)
    )
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)
    proxy, forgotten = ReadTimeout(limit_s=2.5, at=28.995, for_s=20.0), Forget(agent="agent1", at=23.133)
    outcome = play(_small(70001101, forgotten, proxy, ack=False, hold_ms=8000, lasts_s=60.0, sliced=True))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


def test_a_session_that_was_kept_for_the_interval_advised_goes_on_after_the_login():
    long = Advise(agent="agent2", kind="interval", interval_ms=1e18, at=15.62)
    faults = (long, Kill(power=True, at=17.0, for_s=1.0), LoseLogins(at=17.5, for_s=50.0))
    outcome = play(_small(1462, *faults, ack=True, hold_ms=5000, lasts_s=80.0))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


def test_a_session_whose_answers_a_gateway_refuses_is_not_given_up_with_the_login():
    refused = Refuse(host="gws", at=38.364, for_s=12.131)
    gateway = StandIn(status=403, count=3, keeps_body=False, only="messages", at=43.947)
    outcome = play(_small(73000148, refused, gateway, ack=True, hold_ms=5000, lasts_s=60.0, accounts=3, sliced=True))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


def test_a_session_is_polled_while_the_disk_is_full_whatever_else_is_asked():
    full = DiskFull(at=14.354, for_s=20.137)
    deny, jump = Deny(agent="agent2", count=1, at=5.966), ClockJump(host="listener", by_s=-3600.0, at=28.764)
    plan = msgspec.structs.replace(draw(70020070), faults=(deny, full, jump))
    outcome = play(plan)
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


LIVING = {
    "a network that refuses for seven seconds": (Refuse(host="gws", at=8.0, for_s=7.0),),
    "nine seconds": (Refuse(host="gws", at=8.0, for_s=9.0),),
    "401 a dozen times": (Fail(status=401, count=12, target="notifications", at=8.0),),
    "403 five times, also where one logs in": (Fail(status=403, count=5, target="any", at=8.0),),
    "503 five times": (Fail(status=503, count=5, target="notifications", at=8.0),),
    "a login that ran out, in Bayeux": (
        RefuseInBayeux(agent="agent1", error="401::Authentication invalid", at=8.0),
        RefuseInBayeux(agent="agent2", error="403::Handshake denied", at=11.0),
    ),
    "the same, and a restart": (
        RefuseInBayeux(agent="agent1", error="403::Handshake denied", at=8.0),
        Restart(at=8.1, for_s=1.0),
    ),
    "a login that ran out while answers came too late": (
        Slow(by_ms=4000, at=12.0, for_s=20.0),
        LoseLogins(at=31.0, for_s=0.0),
    ),
    "an interval without end": (
        Advise(agent="agent1", kind="interval", interval_ms=1e18, at=8.0),
        Advise(agent="agent2", kind="interval", interval_ms=1e18, successful=False, at=8.0),
    ),
    "a first poll that is refused, and a restart": (
        Refuse(host="gws", at=4.174, for_s=7.254),
        Advise(agent="agent2", kind="interval", interval_ms=500, successful=False, at=5.359),
        Restart(at=33.194, for_s=0.2),
    ),
}


@pytest.mark.parametrize("ack", [True, False], ids=["ack", "no ack"])
@pytest.mark.parametrize("faults", LIVING.values(), ids=LIVING)
def test_a_session_that_can_live_is_kept(faults: tuple[AnyFault, ...], *, ack: bool):
    assert_nothing_is_found(play(_small(8351, *faults, ack=ack, hold_ms=5000, lasts_s=60.0)))


def test_many_sessions_that_wait_for_a_second_go_on_after_a_start():
    plan = _small(0, Restart(at=8.0, for_s=0.2), ack=True, hold_ms=8000, lasts_s=9.0)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, accounts=150, max_interval_ms=1000, batched=True)))


# --- the same of replicas ---------------------------------------------------------------------------------------------


def _replicas(seed: int, *faults: AnyFault, ack: bool, accounts: int = 3, hold_ms: int = 5000) -> Schedule:
    lasts_s = max(40.0, *(fault.at + 15.0 for fault in faults))
    plan = _small(seed, *faults, ack=ack, hold_ms=hold_ms, lasts_s=lasts_s, accounts=accounts)
    return msgspec.structs.replace(plan, replicas=REPLICAS)


SHARED = {
    "a look at chats that another replica has heard of meanwhile": (Drain(replica=3, at=24.155, for_s=12.19),),
    "a file that whoever was fenced opens again": (Freeze(replica=1, at=12.0, for_s=4.0),),
    "a stop in the middle of a hand-over": (
        KillReplica(replica=1, at=28.051, for_s=15.0),
        KillReplica(replica=2, at=28.865, for_s=15.0),
    ),
    "an outage of the database that is a little shorter than a lease": (
        RestartReplica(replica=2, at=11.347, for_s=0.2),
        DatabaseRestart(at=15.854, for_s=0.8),
    ),
    "a replica that is cut off from everybody, and whose clock is set": (
        CutOff(replica=2, host="database", at=12.0, for_s=6.0),
        CutOff(replica=2, host="gws", at=12.0, for_s=6.0),
        ReplicaClock(replica=2, at=14.0, by_s=-3600.0),
        ReplicaClock(replica=1, at=15.0, by_s=3600.0),
    ),
    "answers that are lost, and come late": (
        CutOff(replica=1, host="database", way="answers", late=False, at=12.0, for_s=0.8),
        CutOff(replica=3, host="database", way="answers", late=True, at=20.0, for_s=2.0),
    ),
    "a rolling restart while the database is slow": (
        DatabaseSlow(at=10.0, for_s=20.0, by_ms=200),
        RollingRestart(at=12.0, for_s=1.5),
    ),
    "an answer that another has overtaken, while an account is handed over": (
        Slow(by_ms=4000, at=7.804, for_s=20.033),
        RestartReplica(replica=2, at=10.575, for_s=0.2),
        KillReplica(replica=1, at=10.593, for_s=4.0),
    ),
    "another process of the same name": (Namesake(replica=2, at=12.0, for_s=4.0),),
}


JOINED_JUST_BEFORE_AN_OUTAGE = (
    '{"seed":5400024,"ack":true,"accounts":3,"hold_ms":3000,"max_interval_ms":10000,"csrf":false,"batched"'
    ':false,"sliced":false,"lasts_s":45.0,"faults":[{"type":"Freeze","replica":1,"at":14.521,"for_s":1.2},'
    '{"type":"StandIn","status":502,"count":3,"keeps_body":false,"only":"any","at":15.384},{"type":'
    '"DatabaseRestart","at":15.974,"for_s":25.0},{"type":"Freeze","replica":1,"at":16.523,"for_s":1.2}],'
    '"replicas":3}'
)


STOPPED_AMID_A_HAND_OVER = (
    '{"seed":300268,"ack":false,"accounts":6,"hold_ms":8000,"max_interval_ms":10000,"csrf":false,"batched'
    '":false,"sliced":false,"lasts_s":45.0,"faults":[{"type":"DatabaseRestart","at":10.978,"for_s":0.3},{'
    '"type":"DenySubscription","agent":"agent5","count":1,"at":39.9},{"type":"RollingRestart","at":40.881'
    ',"for_s":0.2},{"type":"Freeze","replica":2,"at":41.399,"for_s":4.0}],"replicas":3}'
)


STOPPED_TWICE_IN_A_ROW = (
    '{"seed":2757,"ack":false,"accounts":6,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched"'
    ':false,"sliced":false,"lasts_s":45.0,"faults":[{"type":"RestartReplica","replica":1,"at":17.738,"for_s"'
    ':1.0},{"type":"Expire","agent":"agent5","at":25.1},{"type":"RestartReplica","replica":2,"at":26.076,'
    '"for_s":0.2},{"type":"RollingRestart","at":26.403,"for_s":1.5}],"replicas":3}'
)


def test_who_joins_just_before_an_outage_of_the_database_is_back_as_soon_as_the_others():
    outcome = play(Schedule.from_json(JOINED_JUST_BEFORE_AN_OUTAGE))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


def test_who_is_given_an_account_while_it_stops_leaves_it_as_it_was():
    outcome = play(Schedule.from_json(STOPPED_TWICE_IN_A_ROW))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


def test_a_stop_does_not_wait_for_a_hand_over_that_waits_for_what_has_ended():
    outcome = play(Schedule.from_json(STOPPED_AMID_A_HAND_OVER))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


@pytest.mark.parametrize("ack", [True, False], ids=["ack", "no ack"])
@pytest.mark.parametrize("faults", SHARED.values(), ids=SHARED)
def test_replicas_keep_what_is_promised(faults: tuple[AnyFault, ...], *, ack: bool):
    outcome = play(_replicas(44, *faults, ack=ack, accounts=4))
    assert (outcome.unknown, outcome.known) == ([], {}), told(outcome)


# --- what the simulated world itself had wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "at", "kill_at", "ack"), [(819, 28.22, 33.197, True), (889, 5.446, 12.389, False)])
def test_a_server_goes_on_when_its_client_is_killed(seed: int, at: float, kill_at: float, *, ack: bool):
    """Its sessions came to no end, and what took their place was held against the listener."""
    lost, kill = LoseLogins(at=at, for_s=15.0), Kill(power=ack, at=kill_at, for_s=1.0)
    assert_nothing_is_found(play(_small(seed, lost, kill, ack=ack, hold_ms=8000, lasts_s=40.0)))


def test_a_session_whose_polls_are_held_is_not_idle_although_a_proxy_cuts_them():
    proxy, outage = ReadTimeout(limit_s=2.5, at=53.538, for_s=20.0), Partition(host="gws", at=59.691, for_s=20.339)
    assert_nothing_is_found(play(_small(649, proxy, outage, ack=True, hold_ms=3000, lasts_s=90.0)))


def test_a_proxy_is_not_learned_from_an_answer_that_an_outage_kept_from_who_asked():
    proxy, outage = ReadTimeout(limit_s=1.2, at=26.758, for_s=90.0), Refuse(host="gws", at=30.505, for_s=12.249)
    assert_nothing_is_found(play(_small(95000983, proxy, outage, ack=False, hold_ms=8000, lasts_s=40.0)))


def test_nor_from_answers_that_are_late_since_the_server_is_slow():
    proxy, slow = ReadTimeout(limit_s=2.5, at=12.43, for_s=90.0), Slow(by_ms=4000, at=16.092, for_s=7.377)
    assert_nothing_is_found(play(_small(95003953, proxy, slow, ack=False, hold_ms=8000, lasts_s=40.0, sliced=True)))


def test_a_session_that_the_next_process_did_not_find_on_its_disk_was_not_lost_by_it():
    begun_anew = Advise(agent="agent2", kind="handshake", interval_ms=0, successful=True, at=81.842)
    full, kill = DiskFull(at=82.161, for_s=1.535), Kill(power=False, at=83.57, for_s=1.0)
    assert_nothing_is_found(play(_small(95003265, begun_anew, full, kill, ack=True, hold_ms=3000, lasts_s=90.0)))


def test_the_last_answers_of_a_process_are_taken_in_order_although_the_older_one_is_late():
    slow, restart = Slow(by_ms=4000, at=34.446, for_s=1.844), Restart(at=36.494, for_s=0.2)
    assert_nothing_is_found(
        play(_small(150006147, slow, restart, ack=False, hold_ms=5000, lasts_s=40.0, accounts=3, sliced=True))
    )


def test_a_gap_of_unknown_length_may_be_any_that_its_times_mean():
    assert_nothing_is_found(
        play(
            _small(
                142000874,
                Restart(at=10.776, for_s=0.2),
                Slow(by_ms=4000, at=20.377, for_s=7.052),
                LoseLogins(at=22.924, for_s=15.0),
                ClockJump(host="listener", by_s=-30.0, at=24.31),
                Kill(power=True, at=24.797, for_s=1.0),
                ack=True,
                hold_ms=5000,
                lasts_s=40.0,
                accounts=3,
            )
        )
    )


def test_a_gap_that_begins_at_a_time_which_the_clock_never_showed_was_counted_back():
    assert_nothing_is_found(
        play(
            _small(
                95000452,
                Garbled(kind="empty", at=10.226),
                Refuse(host="gws", at=15.11, for_s=12.15),
                ClockJump(host="listener", by_s=90_000.0, at=17.33),
                Kill(power=True, at=28.201, for_s=4.0),
                ack=True,
                hold_ms=5000,
                lasts_s=40.0,
                accounts=3,
            )
        )
    )


def test_a_gap_may_last_for_the_pause_that_the_server_advises_by_itself_to_one_of_two_clients():
    plan = _small(
        123000178,
        RefuseTopic(topic="/v2/me/chats", at=16.58, for_s=25.0),
        DiskFull(at=22.217, for_s=9.269),
        RefuseTopic(topic="/v2/me/emails", at=23.06, for_s=25.0),
        Kill(power=False, at=26.215, for_s=1.0),
        ReadTimeout(limit_s=1.2, at=34.795, for_s=20.0),
        ack=False,
        hold_ms=5000,
        lasts_s=40.0,
    )
    assert_nothing_is_found(play(msgspec.structs.replace(plan, media=("chat", "email", "voice"))))


def test_of_two_listeners_the_one_that_has_the_journal_keeps_it_although_the_disk_was_slow_when_it_began():
    slow, kill = DiskStall(by_s=3.0, at=66.124, for_s=9.161), Kill(power=False, at=72.741, for_s=1.0)
    assert_nothing_is_found(play(_small(95001753, slow, kill, Second(at=76.257), ack=True, hold_ms=8000, lasts_s=90.0)))


def test_a_clock_that_is_set_in_the_millisecond_in_which_a_gap_ends_was_not_set_in_it():
    slow, kill = DiskStall(by_s=0.05, at=8.508, for_s=20.011), Kill(power=False, at=14.714, for_s=1.0)
    step = ClockJump(host="listener", by_s=-30.0, at=16.654)
    assert_nothing_is_found(play(_small(95000105, slow, kill, step, ack=False, hold_ms=3000, lasts_s=60.0)))


def test_a_stop_that_waits_for_a_sink_is_a_part_of_the_restart():
    quiet = ReceiverAnswers(status=429, retry_after="1000000000000", at=4.674, for_s=12.35)
    kill, deaf = Kill(power=False, at=14.199, for_s=1.0), Forget(agent="agent2", at=21.696)
    plan = _small(311297, quiet, kill, deaf, Restart(at=36.999, for_s=4.0), ack=True, hold_ms=3000, lasts_s=40.0)
    assert_nothing_is_found(play(plan))


def test_a_subscription_that_is_forgotten_amid_a_long_look_is_found_by_the_next():
    slow, deaf = DatabaseSlow(by_ms=1500, at=12.162, for_s=12.469), Forget(agent="agent2", at=14.43)
    plan = _small(301281, slow, deaf, ack=True, hold_ms=3000, lasts_s=45.0, accounts=3)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, replicas=REPLICAS)))


def test_the_look_that_finds_a_forgotten_subscription_comes_after_the_outage_that_puts_it_off():
    deaf, outage = Forget(agent="agent5", at=11.125), Refuse(host="gws", at=20.443, for_s=9.062)
    assert_nothing_is_found(play(_replicas(50001197, deaf, outage, ack=False, accounts=6, hold_ms=3000)))


def test_what_was_set_until_a_dead_session_was_subscribed_again_is_no_sign_of_another_death():
    """The look that found it had to read before, since its own subscription was refused."""
    logins, deaf = LoseLogins(at=38.944, for_s=0.0), Forget(agent="agent2", at=39.321)
    plan = _replicas(72000212, logins, deaf, ack=True, accounts=6)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, lasts_s=45.0)))


def test_a_session_that_was_never_stored_is_nobodys_to_keep():
    slow, new = (
        Slow(by_ms=900, at=23.569, for_s=9.039),
        Advise(agent="agent3", kind="handshake", interval_ms=0, at=24.261),
    )
    cut_off = CutOff(replica=2, host="database", way="requests", late=False, at=27.93, for_s=12.0)
    plan = _small(202628, slow, new, cut_off, ack=True, hold_ms=5000, lasts_s=45.0, accounts=3)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, replicas=REPLICAS)))


def test_a_session_is_kept_for_its_next_process_while_the_disk_is_full():
    full, kill = DiskFull(at=68.108, for_s=4.151), Kill(power=False, at=74.112, for_s=15.0)
    assert_nothing_is_found(play(_small(1186, full, kill, ack=True, hold_ms=5000, lasts_s=90.0)))


def test_the_last_poll_of_a_replica_that_was_killed_may_be_held_yet():
    refuse, kill = Refuse(host="gws", at=42.993, for_s=12.358), KillReplica(replica=3, at=43.657, for_s=0.2)
    plan = _small(44000008, refuse, kill, ack=True, hold_ms=8000, lasts_s=45.0, accounts=3)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, replicas=REPLICAS, csrf=True)))


def test_a_login_that_was_refused_stands_in_the_way_until_the_next():
    assert_nothing_is_found(
        play(
            _small(
                469,
                ReadTimeout(limit_s=1.2, at=19.084, for_s=90.0),
                Kill(power=True, at=32.483, for_s=1.0),
                LoseLogins(at=33.733, for_s=15.0),
                ack=True,
                hold_ms=8000,
                lasts_s=40.0,
                sliced=True,
            )
        )
    )


def test_a_session_is_not_idle_while_the_answer_to_its_last_poll_is_held_up():
    slow, cut_off = Slow(by_ms=4000, at=22.51, for_s=9.344), CutOff(replica=3, host="gws", at=35.02, for_s=7.054)
    plan = _small(78000047, slow, cut_off, ack=False, hold_ms=8000, lasts_s=45.0, accounts=3)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, replicas=REPLICAS)))


def test_what_a_chat_came_with_before_its_agent_moved_cannot_be_told_from_what_was_missed():
    site = Supervisor(
        own=2,
        overlap=1,
        hears_properties=True,
        dropped_on_leave=True,
        survives_login=False,
        monitor_again=True,
        intrude=False,
        needs_session=True,
    )
    restart = RestartReplica(replica=2, at=26.86, for_s=15.0)
    plan = _small(90100109, restart, ack=False, hold_ms=5000, lasts_s=30.0, accounts=4)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, replicas=REPLICAS, team=site)))


def test_what_a_supervisor_is_never_told_makes_a_gap_begin_earlier_that_interrupts_a_look():
    site = Supervisor(
        own=2,
        overlap=1,
        hears_properties=False,
        dropped_on_leave=False,
        survives_login=True,
        monitor_again=False,
        intrude=True,
        needs_session=True,
    )
    plan = _small(90100121, Reset(host="gws", at=16.68), ack=False, hold_ms=3000, lasts_s=30.0, accounts=4)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, replicas=REPLICAS, team=site)))


def test_a_world_of_replicas_lasts_until_the_chats_were_looked_at_twice():
    refuse, forget = Refuse(host="gws", at=17.965, for_s=4.121), Forget(agent="agent2", at=17.984)
    plan = _small(91300054, refuse, forget, ack=False, hold_ms=5000, lasts_s=30.0, accounts=3)
    assert_nothing_is_found(play(msgspec.structs.replace(plan, replicas=REPLICAS)))
