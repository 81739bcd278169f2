import msgspec
import pytest
from msgspec.structs import replace

from listener.daemon.roll import UNREAD, Roll
from listener.model.event import AccountStatus, Gap, GapTally

ALICE = AccountStatus(account="alice", subscribed=True, epoch=1, since_ms=5000)
BOB = AccountStatus(account="bob", subscribed=True, epoch=4, since_ms=3000)
CAROL = AccountStatus(account="carol", last_error="denied")
GAP = Gap(account="alice", from_="a", to="2026-11-22T09:39:00.000Z", reason="network", closed_by="poll")


class World:
    def __init__(self, *statuses: AccountStatus) -> None:
        self.now_s = 0.0
        self.asked = 0
        self.silent_s = dict.fromkeys((one.account for one in statuses), 0.0)
        self.roll = Roll(monotonic_s=lambda: self.now_s)
        for one in statuses:
            self.roll.enter(one, lambda name=one.account: self.silence(name))

    def silence(self, account: str) -> tuple[float, float]:
        self.asked += 1
        return self.silent_s[account], 60.0


@pytest.fixture
def world():
    return World(ALICE, BOB, CAROL)


def test_all_accounts_are_summed_up(world: World):
    summary = world.roll.summary()
    assert (world.roll.unsubscribed().first, world.roll.unsubscribed().more) == (((2, CAROL),), 0)
    assert (summary.since_ms, summary.epoch, summary.gaps.count) == ((3000, 5000), 4, 0)


def test_nothing_is_summed_up_twice(world: World):
    assert world.roll.summary() is world.roll.summary()


def test_a_change_is_seen(world: World):
    world.roll.summary()
    world.roll.note(replace(CAROL, subscribed=True, since_ms=9000, epoch=7, gaps=GapTally().plus(GAP, 2.0)))
    summary = world.roll.summary()
    assert (world.roll.unsubscribed().first, summary.since_ms, summary.epoch) == ((), (3000, 9000), 7)
    assert (summary.gaps.count, summary.gaps.seconds, summary.gaps.last) == (1, 2.0, GAP)


def test_what_an_account_tells_that_is_struck_counts_no_more(world: World):
    world.roll.strike("carol")
    world.roll.note(CAROL)
    assert (len(world.roll), world.roll.unsubscribed().first) == (2, ())


def test_of_very_many_in_trouble_the_first_are_named():
    world = World(*(replace(CAROL, account=f"agent{number}") for number in range(250)))
    named = world.roll.unsubscribed()
    assert ([place for place, _ in named.first], named.more) == (list(range(100)), 150)


def test_silence_is_told_once_it_is_longer_than_it_may_be(world: World):
    assert world.roll.silent() == []
    world.silent_s["bob"] = world.now_s = 60.5
    assert world.roll.silent() == [(1, "bob", 60.5)]
    world.silent_s["bob"] = 0.0
    assert world.roll.silent() == []


def test_nobody_is_asked_while_none_can_have_been_silent_for_too_long(world: World):
    world.silent_s["bob"] = 20.0
    world.roll.silent()
    asked, world.now_s = world.asked, 39.9
    world.roll.silent()
    assert world.asked == asked
    world.now_s = 40.0
    world.roll.silent()
    assert world.asked > asked


def test_one_that_is_entered_later_is_asked_too(world: World):
    world.roll.silent()
    world.roll.enter(replace(ALICE, account="dave"), lambda: (99.0, 60.0))
    assert world.roll.silent() == [(3, "dave", 99.0)]


async def test_the_report_of_an_account_is_made_again_when_it_has_changed(world: World):
    before = await world.roll.reports()
    world.roll.note(replace(ALICE, subscribed=False, last_error="reset"))
    after = await world.roll.reports()
    assert [one.account for one in after] == ["alice", "bob", "carol"]
    assert (after[0].subscribed, after[0].subscribed_at, after[0].last_error) == (False, None, "reset")
    assert after[1] is before[1]
    assert before[0].subscribed_at == "1970-01-01T00:00:05.000Z"


async def test_the_reports_of_ten_thousand_show_who_is_silent():
    world = World(*(replace(ALICE, account=f"agent{number}") for number in range(10_000)))
    world.silent_s["agent7777"] = 77.0
    reports = await world.roll.reports()
    assert {one.account: one.silent_seconds for one in reports if one.silent_seconds} == {"agent7777": 77.0}
    assert len(msgspec.json.decode(msgspec.json.encode(reports))) == 10_000


def test_an_account_is_numbered_by_its_place_in_the_configuration_whatever_is_entered_before():
    world = World()
    world.roll.number(["dave", "carol", "bob", "alice"])
    for one in (replace(ALICE, subscribed=False), CAROL, replace(BOB, account="eve", subscribed=False)):
        world.roll.enter(one, lambda: (90.0, 60.0))
    assert [(place, one.account) for place, one in world.roll.unsubscribed().first] == [
        (1, "carol"),
        (3, "alice"),
        (4, "eve"),
    ]
    assert [(place, account) for place, account, _ in world.roll.silent()] == [(1, "carol"), (3, "alice"), (4, "eve")]
    world.roll.number(["alice", "carol", "eve"])
    assert [place for place, _ in world.roll.unsubscribed().first] == [0, 1, 2]
    world.roll.number(["alice", "carol"], ["supervisors[0]", "accounts_file line 9"])
    assert [world.roll.mark(place) for place in range(3)] == ["supervisors[0]", "accounts_file line 9", "accounts[2]"]


async def test_chats_that_cannot_be_read_twice_in_a_row_are_a_trouble_of_who_is_heard(world: World):
    trouble = f"{UNREAD}: more than 2000 chats"
    for why, told in (("x", None), (None, None), ("more than 2000 chats", None), ("more than 2000 chats", trouble)):
        world.roll.unread("alice", why)
        assert world.roll.report("alice").trouble == told
    world.roll.doubt("alice", "doubtful")
    assert world.roll.report("alice").trouble == "doubtful"
    world.roll.doubt("alice", None)
    assert world.roll.report("alice").trouble == trouble
    assert world.roll.unheard().first == (), "it is ready all the same"
    world.roll.unread("alice", None)
    assert world.roll.report("alice").trouble is None


async def test_a_doubt_is_a_trouble_of_who_is_heard_and_outlives_the_entry(world: World):
    for account in ("alice", "bob", "carol"):
        world.roll.doubt(account, "doubtful")
    assert [one.trouble for one in await world.roll.reports()] == ["doubtful", "doubtful", "no subscription: denied"]
    assert [account.account for _, account in world.roll.unsubscribed().first] == ["carol"]
    assert world.roll.unheard().first == ()
    world.silent_s["bob"] = world.now_s = 60.5
    world.roll.silent()
    assert world.roll.report("bob").trouble == "silent for longer than it should be"
    world.roll.strike("alice")
    world.roll.enter(ALICE, lambda: (0.0, 60.0))
    assert world.roll.report("alice").trouble == "doubtful"
    world.roll.doubt("alice", None)
    assert world.roll.report("alice").trouble is None
