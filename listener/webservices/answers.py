"""Maps an answer of the Web Services to success or one of our errors."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import aiohttp
import msgspec
from yarl import URL

from listener.errors import (
    UNDECODABLE,
    CsrfRejected,
    LoginRefused,
    NotFound,
    OperationForbidden,
    ParameterInvalid,
    ParameterMissing,
    ServerFault,
    Unreachable,
    WebServicesError,
)
from listener.runtime import http_client
from listener.runtime.backoff import retry_after_s
from listener.runtime.urls import told

T = TypeVar("T")

PARTIAL = 7
LONGEST_WAIT_S = 3600.0  # a Retry-After beyond this would look like a dead listener

_MESSAGE_CHARS = 200
_LOCATION_CHARS = 2000
SMALL_BYTES = 2**20  # so much holds up the event loop for less than 50 ms, even if each byte is an element
_WINDOW_BYTES = 2**15
_PIECE_ELEMENTS, _PIECE_BYTES = 500, 2**18
_MARK = re.compile(rb'\\.|["{}\[\]]', re.DOTALL)
_raws = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_BY_STATUS_CODE: Mapping[int, type[WebServicesError]] = {
    1: ParameterMissing,
    2: ParameterInvalid,
    3: OperationForbidden,
    4: ServerFault,
    5: OperationForbidden,
    6: NotFound,
    20: LoginRefused,
}


class Reply(NamedTuple):
    """An HTTP response, read whole, with the request it belongs to; `path` is without the server's base URL."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class Answer(msgspec.Struct, frozen=True, rename="camel"):
    """What every JSON answer has; its message is read where it is told, since it may be anything of any size."""

    status_code: int
    status_message: msgspec.Raw = msgspec.Raw(b"null")


def check(reply: Reply, now_s: Callable[[], float]) -> None:
    """Return if the reply says success (HTTP 2xx and statusCode 0); `now_s` is epoch seconds.

    Raises:
        LoginRefused: HTTP 401 or 403, or statusCode 20.
        CsrfRejected: HTTP 401 or 403 with a plain text that names the CSRF token.
        OperationForbidden: statusCode 3 or 5.
        ServerFault: HTTP 429 or 5xx, statusCode 4, a redirect, an answer that is not the API's JSON.
        WebServicesError: any other statusCode, as the tree in `errors` names it.
    """
    answer = _answer(reply)
    code = answer.status_code if answer else None
    succeeded = code == 0 and HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES
    if succeeded:
        return
    kind = _kind(reply, code)
    text = _describe(reply, answer)
    if issubclass(kind, ServerFault):
        wait_s = retry_after_s(reply.headers.get("Retry-After"), limit_s=LONGEST_WAIT_S, now_s=now_s)
        raise kind(text, http_status=reply.status, status_code=code, retry_after_s=wait_s)
    raise kind(text, http_status=reply.status, status_code=code)


def _kind(reply: Reply, code: int | None) -> type[WebServicesError]:
    """The class of the error that the reply is."""
    if reply.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        if code is None and b"csrf" in reply.body[:1000].lower():
            return CsrfRejected
        forbidden = _BY_STATUS_CODE.get(code or 0) is OperationForbidden
        return OperationForbidden if forbidden else LoginRefused
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS or reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR or not code:
        return ServerFault
    return _BY_STATUS_CODE.get(code, WebServicesError)


def decode(reply: Reply, kind: type[T]) -> T:
    """The body as `kind`. Raises ServerFault if it is something else."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except UNDECODABLE as exc:
        text = f"{reply.method} {reply.path}: the answer is not of the expected shape: {exc}"
        raise ServerFault(text, http_status=reply.status) from exc


def read_or_none(kind: type[T], raw: msgspec.Raw) -> T | None:
    """A part of an answer as `kind`, None if it is something else: one that is spoilt does not hide the others."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNDECODABLE:
        return None


def pieces(listed: Sequence[msgspec.Raw]) -> Iterator[Sequence[msgspec.Raw]]:
    """A list of elements in as many as can be read in one step of the event loop; one at least, of any size."""
    start = size = 0
    for at, one in enumerate(listed):
        size += memoryview(one).nbytes
        if at > start and (at - start == _PIECE_ELEMENTS or size > _PIECE_BYTES):
            yield listed[start:at]
            start, size = at, memoryview(one).nbytes
    if start < len(listed):
        yield listed[start:]


async def elements(reply: Reply, array: msgspec.Raw, *, most: int, what: str) -> list[msgspec.Raw]:
    """Those of a list in the body, which may be null, each as its JSON.

    A large one is read step by step, and elements that are neither objects nor lists are left out of it.

    Raises:
        ServerFault: it is no list, or holds more than `most`.
    """
    body = bytes(array)
    try:
        found = _raws(body) or [] if len(body) <= SMALL_BYTES else await _objects(body, most)
    except UNDECODABLE as exc:
        text = f"{reply.method} {reply.path}: the answer is not of the expected shape: {exc}"
        raise ServerFault(text, http_status=reply.status) from exc
    if len(found) > most:
        text = f"{reply.method} {reply.path}: the answer lists more than {most} {what}"
        raise ServerFault(text, http_status=reply.status)
    return found


async def _objects(body: bytes, most: int) -> list[msgspec.Raw]:
    """The objects of an array that is known to be JSON; of more than `most` enough to tell."""
    if not body.startswith(b"["):
        raise msgspec.ValidationError("Expected `array | null`")
    found: list[msgspec.Raw] = []
    depth, start, is_text, at = 0, 0, False, 0
    while at < len(body) and len(found) <= most:
        await asyncio.sleep(0)
        limit = at + _WINDOW_BYTES
        for mark in _MARK.finditer(body, at, limit + 1):
            what, at = mark[0], mark.end()
            if what == b'"':
                is_text = not is_text
            elif is_text or len(what) > 1:
                continue
            elif what in b"{[":
                start = mark.start() if depth == 1 else start
                depth += 1
            else:
                depth -= 1
                if depth == 1:
                    found.append(msgspec.Raw(body[start:at]))
        at = max(at, limit)
    return found


def unanswered(exc: Exception, *, method: str, path: str, server: str, timeout_s: float) -> WebServicesError:
    """The error for an exchange that brought no whole response; says what a person can do about it."""
    where = f"{method} {path}: "
    match exc:
        case TimeoutError():
            return Unreachable(f"{where}no answer from {server} within {timeout_s:g} s")
        case aiohttp.ClientHttpProxyError():
            kind: type[WebServicesError] = Unreachable
        case aiohttp.ClientResponseError() | http_client.HeadTooLarge():
            kind = ServerFault
        case _:
            kind = Unreachable
    return kind(where + http_client.describe(exc, peer=server, table="server"))


def _answer(reply: Reply) -> Answer | None:
    """The body as an answer of the API, None if it is none."""
    try:
        return msgspec.json.decode(reply.body, type=Answer)
    except UNDECODABLE:
        return None


def _describe(reply: Reply, answer: Answer | None) -> str:
    """Method, path, HTTP status, and what the answer says; nothing that could hold a secret."""
    text = f"{reply.method} {reply.path}: HTTP {reply.status}"
    if HTTPStatus.MULTIPLE_CHOICES <= reply.status < HTTPStatus.BAD_REQUEST:
        return f"{text}, a redirect to {_target(reply.headers.get('Location', ''))}, which is not followed"
    if answer is None:
        kind = _short(reply.headers.get("Content-Type", "")) or "no content type"
        csrf = ", missing or invalid CSRF token" if _kind(reply, None) is CsrfRejected else ""
        return f"{text}{csrf}, the answer is not the API's JSON ({kind}, {len(reply.body)} bytes)"
    message = _short(read_or_none(str, answer.status_message) or "")
    return f"{text}, statusCode {answer.status_code}" + (f": {message}" if message else "")


def _target(location: str) -> str:
    try:
        return _short(told(URL(location[:_LOCATION_CHARS]))) or "nowhere"
    except ValueError:
        return "an unreadable address"


def _short(text: str) -> str:
    """One line of at most 200 characters."""
    return http_client.one_line(text)[:_MESSAGE_CHARS]
