"""Paths and methods find their route, whatever stands in them."""

from typing import NamedTuple
from urllib.parse import quote

import hypothesis
import msgspec
import pytest
from aiohttp import web
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType
from yarl import URL

from listener.errors import HttpRefused, JournalDamaged, JournalError
from listener.web.routes import (
    Call,
    Limit,
    Position,
    Route,
    Routes,
    Text,
    answered,
    given,
    query_of,
    refusal_answer,
    text_answer,
)


async def answer(_call: Call) -> web.StreamResponse:
    return web.Response()


ROUTES = Routes(
    [
        Route("GET", "/livez", answer, is_open=True),
        Route("GET", "/chats/{id}", answer),
        Route("POST", "/sinks/{name}/resume", answer),
    ]
)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/livez", {}),
        ("/sinks/crm/resume", {"name": "crm"}),
        ("/sinks/a%2Fb/resume", {"name": "a/b"}),
        ("/sinks/%C3%A4/resume", {"name": "ä"}),
        ("/chats/0000Na9B26EF003M", {"id": "0000Na9B26EF003M"}),
    ],
)
def test_a_path_finds_its_route_and_names(path: str, names: dict[str, str]):
    found = ROUTES.at(path)
    assert (len(found.routes), found.names) == (1, names)


@pytest.mark.parametrize("path", ["", "/", "/livez/", "/sinks/crm", "/sinks//resume", "/sinks/a/b/resume", "/LIVEZ"])
def test_what_only_looks_like_a_path_is_none(path: str):
    with pytest.raises(HttpRefused) as refused:
        ROUTES.at(path).by("GET")
    assert (refused.value.status, refused.value.reason) == (404, "not_found")


def test_another_method_is_told_which_are_taken():
    assert ROUTES.at("/livez").by("HEAD").method == "GET"
    with pytest.raises(HttpRefused) as refused:
        ROUTES.at("/livez").by("POST")
    assert (refused.value.status, refused.value.headers) == (405, {"Allow": "GET, HEAD"})
    with pytest.raises(HttpRefused) as refused:
        ROUTES.at("/sinks/crm/resume").by("HEAD")
    assert (refused.value.status, refused.value.headers) == (405, {"Allow": "POST"})


def test_only_an_open_path_is_open():
    assert ROUTES.at("/livez").is_open
    assert not ROUTES.at("/sinks/crm/resume").is_open
    assert not ROUTES.at("/nothing").is_open


@hypothesis.given(name=st.text(min_size=1).filter(lambda name: name not in {".", ".."}))
def test_any_name_arrives_as_it_was_meant(name: str):
    path = URL.build(scheme="http", host="a", path="/sinks") / name.replace("/", "%2F") / "resume"
    found = ROUTES.at(path.raw_path)
    if "/" not in name and "%" not in name:
        assert found.names == {"name": name}


@hypothesis.given(path=st.text())
def test_no_path_breaks_the_table(path: str):
    assert ROUTES.at(path).names.keys() <= {"name", "id"}


def test_a_text_ends_with_a_line_end():
    response = text_answer("a\nb", status=503)
    assert (response.status, response.body, response.content_type) == (503, b"a\nb\n", "text/plain")


def test_a_refusal_says_why_in_json_with_its_headers():
    response = refusal_answer(HttpRefused(405, "method", 'allowed here: "GET"', headers={"Allow": "GET"}))
    assert (response.status, response.body) == (405, b'{"error":"allowed here: \\"GET\\""}\n')
    assert (response.headers["Allow"], response.content_type) == ("GET", "application/json")


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
