"""What accounts come to together, against a count of all of them."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.daemon.troubles import MOST_OPEN_GAPS, MOST_TROUBLES, Standing, Troubles
from listener.model.alike import alike
from listener.model.event import Gap, GapTally, rfc3339
from listener.testing import SAMPLE_MS
from listener.web.summary import AccountState, OpenGap, Trouble

FINE = Standing(subscribed=True, trouble=None)


def down(why: str, *, since_ms: int = SAMPLE_MS, certain_ms: int | None = None) -> Standing:
    return Standing(subscribed=False, trouble=why, since_ms=since_ms, certain_ms=certain_ms, why=why)


def gap_until(seconds: int) -> Gap:
    return Gap(account="a", from_="a", to=rfc3339(SAMPLE_MS + seconds * 1000), reason="network", closed_by="poll")


NAMES = st.sampled_from([f"agent{number}" for number in range(8)])
STANDINGS = st.builds(
    Standing,
    subscribed=st.booleans(),
    trouble=st.none()
    | st.sampled_from(["denied", "no answer within 3 s", "no answer within 4 s", "agent1 is unknown"]),
    since_ms=st.integers(SAMPLE_MS, SAMPLE_MS + 5000),
    certain_ms=st.none() | st.integers(SAMPLE_MS, SAMPLE_MS + 5000),
    gaps=st.builds(GapTally, count=st.integers(1, 5), seconds=st.integers(0, 9), last=st.integers(0, 9).map(gap_until))
    | st.just(GapTally()),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(NAMES, STANDINGS | st.none()), max_size=20))
def test_whatever_happens_it_is_what_a_count_of_all_would_be(steps: list[tuple[str, Standing | None]]):
    troubles, known = Troubles(), dict[str, Standing]()
    for at, (name, standing) in enumerate(steps):
        if standing is not None:
            troubles.put(name, standing, at_ms=SAMPLE_MS + at)
            known[name] = standing
        elif name in known:
            troubles.drop(name)
            del known[name]
    ill = {name: one.trouble for name, one in known.items() if one.trouble is not None}
    counts = troubles.counts()
    assert (counts.total, counts.troubled) == (len(known), len(ill))
    assert counts.subscribed == sum(one.subscribed for one in known.values())
    groups = troubles.groups()
    expected = Counter(alike(trouble, name) for name, trouble in ill.items())
    assert sorted(one.count for one in groups) == sorted(expected.values())
    assert sorted(name for one in groups for name in one.accounts) == sorted(ill)
    for one in groups:
        assert {alike(one.what, name) for name in one.accounts} <= {alike(ill[name], name) for name in one.accounts}
    uncertain = [one.certain_ms for one in known.values() if one.certain_ms is not None]
    assert troubles.open_gaps().count == len(uncertain)
    assert troubles.open_gaps().oldest_at == (rfc3339(min(uncertain)) if uncertain else None)
    gaps = troubles.gaps()
    assert gaps.count == sum(one.gaps.count for one in known.values())
    assert gaps.seconds == sum(one.gaps.seconds for one in known.values())
    ends = [one.gaps.last.to for one in known.values() if one.gaps.last is not None]
    assert (None if gaps.last is None else gaps.last.to) == max(ends, default=None)


def test_where_an_account_is_taken_over_and_its_gaps_begin_anew_the_newest_gap_is_anothers():
    troubles = Troubles()
    for name, seconds in (("alice", 5), ("bob", 9)):
        standing = FINE._replace(gaps=GapTally(count=1, seconds=1.0, last=gap_until(seconds)))
        troubles.put(name, standing, at_ms=SAMPLE_MS)
    for anew in (GapTally(count=1, seconds=1.0, last=gap_until(2)), GapTally()):
        troubles.put("bob", FINE._replace(gaps=anew), at_ms=SAMPLE_MS)
        assert troubles.gaps().last == gap_until(5)


def test_equal_troubles_are_told_once_with_when_they_were_seen_first_and_last():
    troubles = Troubles()
    for number in range(12):
        why = f"login: HTTP 401 for agent{number}"
        troubles.put(f"agent{number}", down(why, since_ms=SAMPLE_MS + number), at_ms=SAMPLE_MS + 5000 + number)
    troubles.put("bob", down("connecting"), at_ms=SAMPLE_MS)
    assert troubles.groups() == (
        Trouble(
            what="login: HTTP 401 for …",
            count=12,
            accounts=tuple(f"agent{number}" for number in range(10)),
            first_at=rfc3339(SAMPLE_MS),
            last_at=rfc3339(SAMPLE_MS + 5011),
        ),
        Trouble(what="connecting", count=1, accounts=("bob",), first_at=rfc3339(SAMPLE_MS), last_at=rfc3339(SAMPLE_MS)),
    )


def test_a_trouble_of_one_is_told_in_its_own_words():
    troubles = Troubles()
    troubles.put("alice", down("network: no answer from gws:8443 within 3 s"), at_ms=SAMPLE_MS)
    assert troubles.groups()[0].what == "network: no answer from gws:8443 within 3 s"
    troubles.put("alice", FINE, at_ms=SAMPLE_MS)
    assert troubles.groups() == ()


def test_of_very_many_the_largest_and_newest_are_told():
    troubles = Troubles()
    for number in range(100):
        troubles.put(f"a{number}", down(f"trouble {number:x}", certain_ms=SAMPLE_MS + number), at_ms=SAMPLE_MS)
    assert len(troubles.groups()) == MOST_TROUBLES
    gaps = troubles.open_gaps()
    assert (gaps.count, gaps.oldest_at, len(gaps.newest)) == (100, rfc3339(SAMPLE_MS), MOST_OPEN_GAPS)
    assert gaps.newest[0] == OpenGap(account="a99", since=rfc3339(SAMPLE_MS + 99), why="trouble 63")


@pytest.fixture
def team() -> Troubles:
    troubles = Troubles()
    for number in range(25):
        ill = number % 5 == 0
        name = f"Agent{number:02d}"
        troubles.put(name, down(f"HTTP 401 for {name}") if ill else FINE, at_ms=SAMPLE_MS)
    return troubles


def test_accounts_are_found_by_a_part_of_the_name_and_by_state(team: Troubles):
    def find(part: str, state: AccountState) -> list[str]:
        return team.find(part, state, after="", limit=100)[0]

    assert find("AGENT1", AccountState.ALL) == [f"Agent1{number}" for number in range(10)]
    assert find("agent1", AccountState.TROUBLED) == ["Agent10", "Agent15"]
    assert len(find("", AccountState.SUBSCRIBED)) == 20
    assert find("nobody", AccountState.ALL) == []


def test_who_has_a_trouble_is_found_by_its_words(team: Troubles):
    (group,) = team.groups()
    assert team.find(group.what, AccountState.ALL, after="", limit=100)[2] == group.count == 5
    assert team.find("for agent05", AccountState.ALL, after="", limit=100)[0] == ["Agent05"]


@given(st.integers(1, 30))
def test_pages_bring_each_account_once_whatever_comes_and_goes_meanwhile(limit: int):
    troubles = Troubles()
    for number in range(50):
        troubles.put(f"a{number:02d}", FINE, at_ms=SAMPLE_MS)
    seen, after = list[str](), ""
    for turn in range(60):
        page, following, total = troubles.find("", AccountState.ALL, after=after, limit=limit)
        seen += page
        assert (total, len(page) <= limit) == (50, True)
        if following is None:
            break
        after = following
        troubles.drop(seen[-1])
        troubles.put(f"b{turn:02d}", FINE, at_ms=SAMPLE_MS)
    assert [name for name in seen if name.startswith("a")] == [f"a{number:02d}" for number in range(50)]
    assert len(seen) == len(set(seen))


def test_ten_thousand_of_whom_half_are_in_trouble_are_told_in_little():
    troubles = Troubles()
    for number in range(10_000):
        name = f"agent{number}"
        standing = down(f"network: {name} cannot connect", certain_ms=SAMPLE_MS) if number % 2 else FINE
        troubles.put(name, standing, at_ms=SAMPLE_MS)
    told = msgspec.json.encode((troubles.counts(), troubles.groups(), troubles.open_gaps(), troubles.gaps()))
    assert len(troubles.groups()) == 1
    assert len(told) < 5_000
