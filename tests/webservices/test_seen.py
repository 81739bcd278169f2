"""The chats that were heard of."""

from listener.webservices.seen import MOST_CHATS, SeenChats


def test_chats_are_known_until_the_session_ends():
    heard = SeenChats()
    heard.add(["a", "b"])
    assert "a" in heard
    assert "c" not in heard
    heard.clear()
    assert "a" not in heard


def test_of_too_many_the_one_not_heard_of_for_longest_goes():
    heard = SeenChats()
    heard.add(["first", "second"])
    heard.add(str(number) for number in range(MOST_CHATS - 2))
    heard.add(["first"])
    heard.add(["one more"])
    assert "first" in heard
    assert "second" not in heard
