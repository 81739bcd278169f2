"""The console: its files, read once from the package; they hold no data and need no token."""

import hashlib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import NamedTuple

from aiohttp import web

from listener.errors import HttpRefused
from listener.web.routes import Call, Route

INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # revalidated each time, sent when changed
}


class File(NamedTuple):
    """One file of the page, and what its answer says of it."""

    body: bytes
    headers: Mapping[str, str]


def packaged() -> dict[str, File]:
    """The files in the package, by name."""
    return dict(_packaged())


def _packaged() -> Iterator[tuple[str, File]]:
    for item in sorted((files("listener") / "web" / "console").iterdir(), key=lambda item: item.name):
        media_type = TYPES.get(item.name[item.name.rfind(".") :])
        if media_type is not None:
            body = item.read_bytes()
            tag = hashlib.sha256(body).hexdigest()[:32]
            yield item.name, File(body, {**_HEADERS, "Content-Type": media_type, "ETag": f'"{tag}"'})


class Console:
    """Serves the page and its files, by a fixed list."""

    def __init__(self) -> None:
        self._files = packaged()

    def routes(self) -> list[Route]:
        """The page, and its files."""
        return [
            Route("GET", "/", self._page, is_open=True),
            Route("GET", "/console/{name}", self._file, is_open=True),
        ]

    async def _page(self, call: Call) -> web.StreamResponse:
        return self._answer(call, INDEX)

    async def _file(self, call: Call) -> web.StreamResponse:
        return self._answer(call, call.names["name"])

    def _answer(self, call: Call, name: str) -> web.Response:
        file = self._files.get(name)
        if file is None:
            raise HttpRefused(404, "not_found", "there is nothing at this path")
        if file.headers["ETag"] in _tags(call):
            return web.Response(status=304, headers=file.headers)
        return web.Response(body=file.body, headers=file.headers)


def _tags(call: Call) -> list[str]:
    """RFC 9110, 13.1.2: a list, of which weak comparison is asked."""
    shown = ",".join(call.request.headers.getall("If-None-Match", []))
    return [tag.strip(" \t").removeprefix("W/") for tag in shown.split(",")]
