"""The tree printed at the top of errors.py is the tree that the code has."""

import inspect
import re

import pytest

from listener import errors
from listener.errors import (
    ConfigError,
    ExchangeFailed,
    ListenerError,
    NotificationRefused,
    Park,
    Problem,
    Refusal,
    Reject,
    Retry,
)

CLASSES = {
    name: cls
    for name, cls in vars(errors).items()
    if inspect.isclass(cls) and issubclass(cls, Exception) and cls.__module__ == errors.__name__
}


def printed_tree() -> dict[str, str | None]:
    """Class name to the name of its parent, as the module's docstring draws it."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^( *)([A-Z]\w+)(?: {2}|$)", line)
        if not match:
            continue
        depth, name = len(match[1]), match[2]
        while path and path[-1][0] >= depth:
            path.pop()
        parents[name] = path[-1][1] if path else None
        path.append((depth, name))
    return parents


def test_the_printed_tree_is_the_real_one():
    parents = {name: cls.__base__.__name__ for name, cls in CLASSES.items()} | {"ListenerError": None}
    assert printed_tree() == parents


def test_every_error_says_what_it_is():
    assert [name for name, cls in CLASSES.items() if not cls.__doc__] == []


def test_only_a_bad_configuration_has_an_exit_status_of_its_own():
    statuses = {name: cls.exit_status for name, cls in CLASSES.items()}
    assert statuses.pop("ConfigError") == 78
    assert set(statuses.values()) == {1}


def test_a_configuration_error_carries_every_problem():
    problems = [Problem("server.url", "is missing"), Problem("", "not TOML")]
    error = ConfigError(problems)
    assert error.problems == tuple(problems)
    assert str(error) == "server.url: is missing; not TOML"


def test_problems_are_values():
    assert Problem("a", "b") == Problem("a", "b") != Problem("a", "c")
    assert len({Problem("a", "b"), Problem("a", "b")}) == 1
    assert repr(Problem("a", "b")) == "Problem('a', 'b')"
    assert Problem("a", "b") != ("a", "b")


def test_a_refused_notification_has_a_reason_fit_for_a_label():
    error = NotificationRefused("no_chat_id", "chat.id is missing")
    assert (error.reason, str(error)) == ("no_chat_id", "no_chat_id: chat.id is missing")


def test_outcomes_name_what_is_durable_all_the_same():
    assert Retry("503", after_s=2.0, delivered=frozenset({0, 2})).delivered == {0, 2}
    assert Retry("503").after_s is None
    assert Reject(1, "too large").delivered == frozenset()
    assert Reject(1, "too large").index == 1
    assert Reject(1, "too large").letters == {1: Refusal("too large")}
    reject = Reject(1, "a", rejected={2: Refusal("c"), 0: Refusal("b")})
    assert list(reject.letters.items()) == [(0, Refusal("b")), (1, Refusal("a")), (2, Refusal("c"))]


def test_what_a_destination_said_goes_into_the_dead_letter_alone():
    reject = Reject(0, "400", rejected={1: Refusal("422", "twice")}, detail="bad value")
    assert (reject.reason, str(reject), reject.detail) == ("400", "400", "bad value")
    assert reject.letters == {0: Refusal("400", "bad value"), 1: Refusal("422", "twice")}
    assert [str(outcome) for outcome in (Retry("503", detail="no"), Park("401", detail="no"))] == ["503", "401"]
    assert (Retry("503").detail, Park("401").detail) == ("", "")


def test_a_failed_exchange_may_have_lost_an_answer_unless_it_says_otherwise():
    assert not ExchangeFailed("refused", maybe_lost=False).maybe_lost
    assert ExchangeFailed("cut").maybe_lost


@pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
def test_each_is_caught_as_one_of_ours(cls: type[Exception]):
    assert issubclass(cls, ListenerError)
