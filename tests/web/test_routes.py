"""Paths and methods find their route, whatever stands in them."""

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from listener.errors import HttpRefused
from listener.web.routes import Call, Route, Routes


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


@given(name=st.text(min_size=1).filter(lambda name: name not in {".", ".."}))
def test_any_name_arrives_as_it_was_meant(name: str):
    path = URL.build(scheme="http", host="a", path="/sinks") / name.replace("/", "%2F") / "resume"
    found = ROUTES.at(path.raw_path)
    if "/" not in name and "%" not in name:
        assert found.names == {"name": name}


@given(path=st.text())
def test_no_path_breaks_the_table(path: str):
    assert ROUTES.at(path).names.keys() <= {"name", "id"}
