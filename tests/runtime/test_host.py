"""What the process takes from its machine."""

from pathlib import Path
from random import Random, SystemRandom

from listener.runtime.host import THIS_HOST, Host


def test_chance_is_the_systems_own_unless_another_is_handed_in():
    assert isinstance(THIS_HOST.random, SystemRandom)
    assert THIS_HOST.token(8) != THIS_HOST.token(8)
    dice = [Random(7) for _ in range(2)]  # noqa: S311 - the point: it can be played again
    assert Host(random=dice[0]).token(8) == Host(random=dice[1]).token(8)


def test_the_start_of_the_machine_has_one_name():
    assert Host().boot_id == Host().boot_id == Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def test_a_token_has_two_digits_a_byte():
    assert len(bytes.fromhex(THIS_HOST.token(13))) == 13


def test_the_time_in_seconds_is_that_of_the_clock():
    class Fixed:
        def now_ms(self):
            return 1500

    assert Host(clock=Fixed()).time_s() == 1.5
