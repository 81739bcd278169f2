"""What a PostgreSQL server says of itself, and of what went wrong."""

import pytest
from asyncpg import exceptions
from msgspec.structs import replace

from listener.runtime.postgres import Profile, code_of, described

SOUND = Profile(
    version="15.1",
    encoding="UTF8",
    fsync="on",
    full_page_writes="on",
    synchronous_commit="on",
    synchronous_standbys="",
    standby=False,
    standbys=0,
)


@pytest.mark.parametrize(
    ("other", "beginnings"),
    [
        ({}, []),
        ({"fsync": "off", "full_page_writes": "off"}, ["fsync is off"]),
        ({"full_page_writes": "off"}, ["full_page_writes is off"]),
        ({"synchronous_commit": "off"}, []),
        ({"standbys": 1}, ["synchronous_standby_names is empty"]),
        ({"standbys": 1, "synchronous_standbys": "*"}, []),
        ({"synchronous_standbys": "*", "synchronous_commit": "local"}, ["synchronous_commit is local"]),
    ],
)
def test_a_risk_is_told_for_what_can_be_lost(other, beginnings):
    risks = list(replace(SOUND, **other).risks())
    assert [risk.partition(":")[0] for risk in risks] == beginnings


def test_our_own_commits_are_never_late():
    assert (SOUND.commits_late, SOUND.commits) == (False, "on")
    late = replace(SOUND, synchronous_commit="off")
    assert (late.commits_late, late.commits) == (True, "on")
    assert replace(SOUND, synchronous_commit="remote_apply").commits == "remote_apply"


def test_an_error_of_the_server_is_told_with_its_code_and_without_values():
    assert described(exceptions.UndefinedTableError("no\ntable x")) == "UndefinedTableError (42P01): no table x"
    assert described(exceptions.CheckViolationError("row (secret)")) == "CheckViolationError (23514)"
    assert code_of(exceptions.CheckViolationError("")) == "23514"


def test_an_error_without_a_code_is_told_in_one_line():
    assert described(OSError("cannot\nreach it")) == "cannot reach it"
    assert described(TimeoutError()) == "no answer in time"
    assert described(ConnectionResetError()) == "ConnectionResetError"
    assert code_of(OSError()) == code_of(None) == ""
