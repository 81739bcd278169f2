"""A query is what its Struct says, or refused."""

from typing import NamedTuple
from urllib.parse import quote

import msgspec
import pytest
from msgspec import UNSET, UnsetType
from yarl import URL

from listener.errors import HttpRefused, JournalDamaged, JournalError
from listener.web.queries import Limit, Position, Text, answered, given, query_of
from listener.web.routes import Call


class Query(msgspec.Struct, forbid_unknown_fields=True):
    after: Position | UnsetType = UNSET
    limit: Limit = 100
    chat: Text | UnsetType = UNSET


class Request(NamedTuple):
    """As much of a request as is looked at."""

    rel_url: URL


def asked(query: str) -> Query:
    return query_of(Call(Request(URL(f"/x?{query}", encoded=True)), {}, b"", True, bool, print), Query)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", Query()),
        ("after=0", Query(after=0)),
        ("limit=500&after=9007199254740991", Query(after=2**53 - 1, limit=500)),
        ("chat=null", Query(chat="null")),
        ("chat=", Query(chat="")),
        ("chat=12", Query(chat="12")),
        ("chat=a%26limit%3D1%00", Query(chat="a&limit=1\0")),
        (f"chat={quote('☃' * 80)}", Query(chat="☃" * 80)),
    ],
)
def test_what_is_given_is_taken(query: str, expected: Query):
    assert asked(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=501", "limit=-1", "limit=", "limit=x", "limit=null", "limit=true", "limit=1.5", "limit"),
        *("after=-1", "after=9007199254740992", f"after={'9' * 3000}", "after=%00", "after=+1", "after=٣", "after=NaN"),
        *("limit=1&limit=1", "limit=1&limit=2", "chat=a&chat=b", "afte=1", "chats=c", "=", "1"),
        *(f"chat={'x' * 81}", "chat=\udcff"),
    ],
)
def test_what_is_not_understood_is_refused_and_not_left_out(query: str):
    with pytest.raises(HttpRefused) as refused:
        asked(query)
    assert (refused.value.status, refused.value.reason) == (400, "query")


def test_what_is_not_given_is_none():
    assert (given(UNSET), given(0), given("")) == (None, 0, "")


@pytest.mark.parametrize("error", [JournalError("full"), JournalDamaged("event 5")])
async def test_a_journal_that_cannot_answer_is_no_fault_of_the_page(error: Exception):
    async def ask() -> None:
        raise error

    with pytest.raises(HttpRefused, match=str(error)) as refused:
        await answered(ask())
    assert (refused.value.status, refused.value.reason) == (503, "journal")
