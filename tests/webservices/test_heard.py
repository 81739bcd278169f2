"""The chats that were heard of."""

from listener.webservices.heard import MOST_CHATS, HeardChats


def test_chats_are_known_until_the_session_ends():
    heard = HeardChats()
    heard.add(["a", "b"], 1)
    heard.add(["a"], 2)
    assert (heard.since("a"), heard.since("b"), heard.since("c")) == (1, 1, None)
    heard.clear()
    assert heard.since("a") is None


def test_of_too_many_the_one_not_heard_of_for_longest_goes():
    heard = HeardChats()
    heard.add(["first", "second"], 1)
    heard.add((str(number) for number in range(MOST_CHATS - 2)), 2)
    heard.add(["first"], 3)
    heard.add(["one more"], 4)
    assert (heard.since("first"), heard.since("second")) == (1, None)
