"""What a replay looks like to who waits for it."""

import pytest
from msgspec.structs import replace

from listener.cli import control, replaying
from listener.cli.replaying import Replay, ReplayProgress, follow
from listener.errors import ControlError
from listener.model.event import LaneStatus
from listener.testing import ManualClock
from support.events import dead_letter

CRM = LaneStatus(sink="crm", kind="webhook", cursor=9, lag=0, delivered=1, failures=0, parked=None, last_error=None)


class World:
    """What the journal and the daemon would say; `step` is called between two looks."""

    def __init__(self, monkeypatch, path):
        self.clock = ManualClock()
        self.before = [dead_letter(number, hour=9) for number in (1, 2, 3)]
        self.letters = [replace(letter, replaying=True) for letter in self.before]
        self.lanes = [CRM]
        monkeypatch.setattr(replaying, "dead_letters", lambda _path, which: self._letters(which))
        monkeypatch.setattr(control, "lanes", lambda _path: self.lanes)
        self.replay = Replay(journal=path, before=self.before, clock=self.clock.monotonic_s)

    def _letters(self, which):
        return [letter for letter in self.letters if which.sink in (None, letter.sink)]

    def reject(self, sequence):
        self.letters = [
            replace(letter, replaying=False, attempts=letter.attempts + 1) if letter.sequence == sequence else letter
            for letter in self.letters
        ]


@pytest.fixture
def world(monkeypatch, tmp_path):
    return World(monkeypatch, tmp_path / "journal.db")


def test_letters_that_are_gone_were_delivered_and_those_that_changed_were_rejected(world):
    assert world.replay.poll() == ReplayProgress(0, 0, 3)
    del world.letters[0]
    assert world.replay.poll() == ReplayProgress(1, 0, 2)
    world.reject(2)
    assert world.replay.poll() == ReplayProgress(1, 1, 1)
    world.letters = world.letters[:1]
    assert world.replay.poll() == ReplayProgress(2, 1, 0)
    assert world.replay.poll().is_over


def test_a_letter_that_could_not_be_marked_is_neither(world):
    world.letters[0] = world.before[0]
    assert world.replay.poll() == ReplayProgress(0, 0, 2)


def test_letters_of_others_do_not_count(world):
    world.letters += [dead_letter(7, hour=9), dead_letter(1, hour=9, sink="bi")]
    assert world.replay.poll() == ReplayProgress(0, 0, 3)


def test_there_is_nothing_to_wait_for_where_the_lane_is_parked(world):
    world.lanes = [replace(CRM, parked="401"), replace(CRM, sink="audit")]
    progress = world.replay.poll()
    assert progress.is_over
    assert progress.halt == "sink crm is parked: 401; `sinks resume crm` lets it go on"


def test_a_lane_that_fails_is_waited_for_a_little(world):
    world.lanes = [replace(CRM, last_error="503")]
    assert not world.replay.poll().is_over
    world.clock.advance(10.1)
    assert world.replay.poll().halt == "sink crm takes none now: 503; it is tried again by itself"
    del world.letters[0]
    assert not world.replay.poll().is_over, "it does take some"


def test_one_lane_of_two_that_goes_on_is_waited_for(world):
    world.before.append(dead_letter(1, hour=9, sink="bi"))
    world.letters.append(replace(world.before[-1], replaying=True))
    world.lanes = [replace(CRM, parked="401"), replace(CRM, sink="bi")]
    both = Replay(journal=world.replay._journal, before=world.before, clock=world.clock.monotonic_s)
    assert not both.poll().is_over
    world.lanes[1] = replace(CRM, sink="bi", parked="403")
    assert both.poll().halt.count("is parked") == 2


def test_a_daemon_that_ends_meanwhile_is_told(world):
    world.lanes = None
    assert world.replay.poll().halt == "the daemon has ended; what is left is delivered when it runs again"


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (ReplayProgress(3, 0, 0), "3 delivered"),
        (ReplayProgress(2, 1, 0), "2 delivered, 1 rejected again"),
        (ReplayProgress(0, 0, 3), "0 delivered, 3 still to come"),
    ],
)
def test_progress_in_words(progress, text):
    assert str(progress) == text


def test_following_ends_with_the_last_letter(world, capsys, monkeypatch):
    monkeypatch.setattr(replaying, "_LINE_S", 0.0)

    def step(_delay_s):
        del world.letters[0]

    assert follow(world.replay, sleep=step) == ReplayProgress(3, 0, 0)
    assert capsys.readouterr().out.splitlines() == [
        "0 delivered, 3 still to come",
        "1 delivered, 2 still to come",
        "2 delivered, 1 still to come",
    ]


def test_a_daemon_that_does_not_answer_ends_it(world, monkeypatch):
    def fail(_path):
        raise ControlError("the daemon does not answer")

    monkeypatch.setattr(control, "lanes", fail)
    with pytest.raises(ControlError):
        follow(world.replay)
