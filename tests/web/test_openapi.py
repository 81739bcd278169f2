"""The description against the server: every route is described, and answers hold to it."""

from typing import Any

import aiohttp

from listener.web.openapi import description
from support.pages import Pages


async def test_every_route_is_described_and_nothing_else(pages: Pages):
    described = {
        (path, method.upper()) for path, methods in description(secured=True)["paths"].items() for method in methods
    }
    assert described == {(route.path, route.method) for route in pages.routes(secured=True)}


async def test_it_is_served_and_asks_for_the_token_where_there_is_one(
    http: aiohttp.ClientSession, secured: aiohttp.ClientSession
):
    document: dict[str, Any] = await (await secured.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert document["security"] == [{"bearer": []}]
    assert document["paths"]["/livez"]["get"]["security"] == []
    assert (await (await http.get("/openapi.json")).json())["security"] == []


def test_what_is_open_is_what_needs_no_token(pages: Pages):
    paths = description(secured=True)["paths"]
    for route in pages.routes(secured=True):
        assert (paths[route.path][route.method.lower()].get("security") == []) == route.is_open, route.path


async def test_what_sinks_receive_is_described_beside_it(secured: aiohttp.ClientSession):
    assert (await (await secured.get("/asyncapi.json")).json())["asyncapi"] == "3.0.0"
    assert "DispositionEvent" in (await (await secured.get("/events.schema.json")).json())["$defs"]
