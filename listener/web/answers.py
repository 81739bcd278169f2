"""What every answer has in common, and its three forms: text, JSON, a refusal."""

from typing import Any

import msgspec
from aiohttp import web

from listener.errors import HttpRefused

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused."""

    error: str


def text(body: str, *, status: int = 200) -> web.Response:
    """One or more lines of text; the last one gets its end here."""
    return web.Response(body=f"{body}\n".encode(), status=status, headers={"Content-Type": TEXT})


def json(value: Any, *, status: int = 200) -> web.Response:
    """A value that msgspec can encode, as one line."""
    return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, headers={"Content-Type": JSON})


def refusal(refused: HttpRefused) -> web.Response:
    """The answer to a request that is refused."""
    response = json(Error(error=str(refused)), status=refused.status)
    response.headers.update(refused.headers)
    return response
