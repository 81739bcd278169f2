"""A delivery goes at once unless events come too densely for one each."""

import pytest

from listener.delivery.pace import Pace


class Deliveries:
    """Deliveries of a length, by a clock of their own.

    Args:
        took_s: how long each takes, however many events it carries.
    """

    def __init__(self, took_s: float) -> None:
        self.now_s = 100.0
        self.took_s = took_s
        self.pace = Pace(lambda: self.now_s)

    def deliver(self, events: int = 1) -> float:
        """One delivery; the pause after it in seconds."""
        self.now_s += self.took_s
        return self.pace.pause_s(events)

    def pauses(self, *, rate: float, seconds: float, together: int = 1) -> list[float]:
        """The pauses of a stream of so many events a second that arrive evenly, so many together."""
        found, taken, began_s = [], 0, self.now_s
        while self.now_s < began_s + seconds:
            due = int((self.now_s - began_s) * rate / together + 1e-6) * together
            if due == taken:
                self.now_s = began_s + (taken + together) / rate
                continue
            found.append(self.deliver(due - taken))
            taken = due
            self.now_s += found[-1]
        return found


@pytest.mark.parametrize(("rate", "together"), [(1, 1), (50, 1), (200, 1), (50, 10)])
@pytest.mark.parametrize("took_s", [0.0001, 0.002, 0.1])
def test_a_few_hundred_a_second_go_at_once(rate: float, together: int, took_s: float):
    assert not any(Deliveries(took_s).pauses(rate=rate, seconds=3, together=together))


@pytest.mark.parametrize(("rate", "together"), [(500, 1), (1_000, 1), (5_000, 10), (20_000, 100)])
def test_a_flood_is_grouped_soon_and_as_long_as_it_lasts(rate: float, together: int):
    pauses = Deliveries(0.001).pauses(rate=rate, seconds=3, together=together)
    assert set(pauses[pauses.index(0.02) :]) == {0.02}
    assert sum(pauses) > 2.7, "the flood was seen within a tenth of a second"


def test_what_comes_slowly_behind_a_flood_goes_at_once_again():
    deliveries = Deliveries(0.001)
    assert deliveries.pauses(rate=5_000, seconds=1)[-1] == 0.02
    deliveries.pauses(rate=200, seconds=0.3)
    assert not any(deliveries.pauses(rate=200, seconds=1))


def test_one_delivery_that_the_disk_held_up_groups_nothing():
    deliveries = Deliveries(0.001)
    deliveries.pauses(rate=50, seconds=1)
    deliveries.took_s = 0.03
    assert deliveries.deliver() == 0.0
    deliveries.took_s = 0.001
    assert not any(deliveries.pauses(rate=50, seconds=1))


def test_a_clock_that_stands_still_is_no_flood():
    assert not any(Deliveries(0.0).deliver(500) for _ in range(10))
