"""What describes the interfaces to programs, generated from its structures: OpenAPI, AsyncAPI, JSON Schema."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from listener import __version__
from listener.model.event import Change
from listener.model.filter import ControlFilter
from listener.model.schemas import asyncapi, event_schema
from listener.web.actions import (
    DeadLetterCount,
    Nothing,
    ResendCancelled,
    Resent,
    Resumed,
    SinkTested,
    WantedAgain,
)
from listener.web.attempts import AttemptList, AttemptQuery
from listener.web.console import TYPES, packaged
from listener.web.feed import FeedQuery, Hello
from listener.web.lookups import CloudEvent, DeadLetterGroups, DeadLetterList, DeadLetterQuery, EventQuery, Events
from listener.web.routes import JSON, Call, Error, Route, json_answer
from listener.web.status import Status
from listener.web.summary import AccountPage, AccountQuery, AccountState, Summary

_REF = "#/components/schemas/{name}"
_SENT_AND_TAKEN = (
    *(Status, AttemptList, ControlFilter, Nothing, Resumed, SinkTested, DeadLetterCount, Error),
    *(CloudEvent, Events, DeadLetterList, DeadLetterGroups, Hello, Change, Summary, AccountPage, AccountState),
    *(WantedAgain, Resent, ResendCancelled),
)
_REASONS = {
    "400": "The request is not as expected.",
    "401": "The bearer token is missing or wrong.",
    "403": "No token is configured, so there are no actions.",
    "404": "There is no sink or file of this name.",
    "409": "The sink cannot do it, for what it is or does now, or since another replica has it.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "421": "The Host header names another host.",
    "503": "Not now: the journal or the token file cannot be used, or there are too many requests.",
}
_EVERYWHERE = ("400", "401", "413", "415", "421", "503")


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _content(media_type: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {media_type: {"schema": schema}}


def _refusals(*more: str) -> dict[str, Any]:
    error = _content(JSON, _ref(Error))
    refusals = {status: {"description": _REASONS[status], "content": error} for status in sorted({*_EVERYWHERE, *more})}
    no_request = _content("text/plain", {"type": "string"})
    return {**refusals, "400": {"description": _REASONS["400"], "content": {**error, **no_request}}}


def _described(description: str, content: Mapping[str, Any], *refusals: str) -> dict[str, Any]:
    return {**_refusals(*refusals), "200": {"description": description, "content": content}}


def _probe(summary: str, *, not_ready: str = "") -> dict[str, Any]:
    """A probe needs no token; its texts are for people."""
    line = _content("text/plain", {"type": "string"})
    responses = _described("It is.", line)
    if not_ready:
        responses["503"] = {"description": not_ready, "content": line}
    return {"get": {"summary": summary, "security": [], "responses": responses}}


def _page(summary: str, content: Mapping[str, Any]) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": _described("The current state.", content)}}


def _file(
    summary: str, refusals: Sequence[str], *parameters: Mapping[str, Any], types: Sequence[str]
) -> dict[str, Any]:
    """What the page for people is made of holds no data, so that it needs no token."""
    content = {media_type.partition(";")[0]: {"schema": {"type": "string"}} for media_type in types}
    responses = _described("The file.", content, *refusals)
    responses["304"] = {"description": "Not modified (If-None-Match)."}
    return {"get": {"summary": summary, "security": [], "parameters": list(parameters), "responses": responses}}


def _asked(
    summary: str, query: type, content: Mapping[str, Any], *others: Mapping[str, Any], refusals: Sequence[str] = ()
) -> dict[str, Any]:
    """A page that takes a query; each of its parameters once, and none beside them. `others` are in path or header."""
    _, schemas = msgspec.json.schema_components((query,), ref_template=_REF)
    parameters = [
        {"name": name, "in": "query", "schema": schema}
        for name, schema in schemas[query.__name__]["properties"].items()
    ]
    return {
        "get": {
            "summary": summary,
            "parameters": [*parameters, *others],
            "responses": _described("The result.", content, *refusals),
        }
    }


def _action(
    summary: str, taken: type, answer: type, *parameters: Mapping[str, Any], refusals: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "parameters": list(parameters),
            "requestBody": {"required": True, "content": _content(JSON, _ref(taken))},
            "responses": _described("Done, durably.", _content(JSON, _ref(answer)), "403", "404", *refusals),
        }
    }


def _paths() -> dict[str, Any]:
    sink = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    file = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": sorted(packaged())}}
    last = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}}
    events, letters = _content(JSON, _ref(Events)), _content(JSON, _ref(DeadLetterList))
    attempts = _content(JSON, _ref(AttemptList))
    stream = _content("text/event-stream", {"type": "string"})
    accounts, groups = _content(JSON, _ref(AccountPage)), _content(JSON, _ref(DeadLetterGroups))
    return {
        "/": _file("The console.", (), types=[TYPES[".html"]]),
        "/console/{name}": _file("One file of the console.", ("404",), file, types=list(TYPES.values())),
        "/events": _asked("Events as they are written to the journal, as server-sent events.", FeedQuery, stream, last),
        "/events.json": _asked("A search for events, newest first.", EventQuery, events),
        "/dead-letters.json": _asked("Events that sinks did not take.", DeadLetterQuery, letters),
        "/dead-letters/groups": _page("Dead letters by sink and reason.", groups),
        "/livez": _probe("Whether the process answers."),
        "/readyz": _probe("Whether the daemon is ready.", not_ready="The problems, one per line."),
        "/metrics": _page("For Prometheus.", _content("text/plain", {"type": "string"})),
        "/status.json": _page("Accounts, sinks, journal.", _content(JSON, _ref(Status))),
        "/summary.json": _page("What is well, what is not, and the last hour.", _content(JSON, _ref(Summary))),
        "/accounts.json": _asked("Accounts by name and state.", AccountQuery, accounts),
        "/openapi.json": _page("This description.", _content(JSON, {"type": "object"})),
        "/asyncapi.json": _page("The description of what sinks receive.", _content(JSON, {"type": "object"})),
        "/events.schema.json": _page("The JSON Schema of events.", _content(JSON, {"type": "object"})),
        "/sinks/{name}/attempts": _asked(
            "The last attempts of a sink, newest first.", AttemptQuery, attempts, sink, refusals=("404",)
        ),
        "/sinks/{name}/resume": _action("Resume a parked sink, or try a failing one at once.", Nothing, Resumed, sink),
        "/sinks/{name}/test": _action("Send a sink a test event.", Nothing, SinkTested, sink, refusals=("409",)),
        "/sinks/{name}/resend": _action("Deliver again what a sink got.", WantedAgain, Resent, sink, refusals=("409",)),
        "/sinks/{name}/resend/cancel": _action("Deliver nothing again.", Nothing, ResendCancelled, sink),
        "/dead-letters/replay": _action("Deliver dead letters again.", ControlFilter, DeadLetterCount),
    }


def description(*, secured: bool) -> dict[str, Any]:
    """The whole document; `secured` tells whether a token is configured."""
    _, schemas = msgspec.json.schema_components(_SENT_AND_TAKEN, ref_template=_REF)
    components: dict[str, Any] = {"schemas": schemas}
    if secured:
        components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "disposition-listener", "version": __version__},
        "paths": _paths(),
        "components": components,
        "security": [{"bearer": []}] if secured else [],
    }


class Description:
    """Serves the documents."""

    def __init__(self, *, secured: bool) -> None:
        self._documents = {
            "/openapi.json": description(secured=secured),
            "/asyncapi.json": asyncapi(),
            "/events.schema.json": event_schema(),
        }

    def routes(self) -> list[Route]:
        """A path for each."""
        return [Route("GET", path, partial(self._show, document)) for path, document in self._documents.items()]

    async def _show(self, document: Mapping[str, Any], _call: Call) -> web.StreamResponse:
        return json_answer(document)
