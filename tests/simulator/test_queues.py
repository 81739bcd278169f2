"""The queue's two characters: gone once written, or kept until acknowledged."""

from hypothesis import given
from hypothesis import strategies as st

from listener.simulator.queues import MessageQueue


def test_without_acknowledgement_what_is_taken_is_gone():
    queue = MessageQueue(ack=False)
    queue.offer(b"1")
    assert (queue.take(), queue.take(), queue.fresh) == ([b"1"], [], False)


def test_a_batch_stays_until_it_is_acknowledged():
    queue = MessageQueue(ack=True)
    queue.offer(b"1")
    first = queue.close_batch()
    assert queue.take() == [b"1"]
    assert queue.acknowledge(first - 1)
    second = queue.close_batch()
    assert queue.take() == [b"1"]
    assert not queue.acknowledge(second)
    assert len(queue) == 0


def test_what_came_after_the_batch_was_closed_is_not_acknowledged_with_it():
    queue = MessageQueue(ack=True)
    queue.offer(b"1")
    batch = queue.close_batch()
    queue.take()
    queue.offer(b"2")
    assert not queue.acknowledge(batch)
    assert queue.fresh
    assert queue.take() == [b"2"]


def test_numbers_rise_with_every_reply_also_without_messages():
    queue = MessageQueue(ack=True)
    assert [queue.close_batch() for _ in range(3)] == [1, 2, 3]


@given(st.lists(st.sampled_from(["offer", "poll", "lost"]), max_size=60))
def test_a_client_that_acknowledges_what_arrived_misses_nothing_and_keeps_the_order(steps):
    """Whatever answers are lost, the client that drops what it already has ends with every message once."""
    queue = MessageQueue(ack=True)
    offered, received, acknowledged = 0, [], 0
    for step in [*steps, "poll"]:
        if step == "offer":
            queue.offer(str(offered).encode())
            offered += 1
            continue
        queue.acknowledge(acknowledged)
        batch, messages = queue.close_batch(), queue.take()
        if step == "poll":
            received += [m for m in messages if m not in received]
            acknowledged = batch
    assert received == [str(number).encode() for number in range(offered)]
