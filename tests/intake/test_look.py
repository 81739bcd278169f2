"""What is kept of a look at the chats until the next one."""

from listener.intake.look import Before, Look
from listener.model.event import Observation
from listener.runtime.clock import Moment


def test_of_long_values_it_is_kept_that_they_were_the_same_and_not_what_they_were():
    long = "x" * 100_000
    one = Observation(account="a", chat_id="c", key="k", value=long, server_time_ms=None, received_ms=1, digest=b"d")
    look = Look(asked_at=Moment(1, 2.5), observations=[one], going_on=frozenset({"c"}), media=frozenset({"chat"}))
    before = Before(look)
    assert (before.asked_s, before.going_on, before.media) == (look.asked_s, {"c"}, {"chat"}) == (2.5, {"c"}, {"chat"})
    assert before.values == {("c", "k"): hash(long)}
