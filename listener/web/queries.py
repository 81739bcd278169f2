"""What a request asks for in its query, and the journal's answer to it."""

from collections.abc import Awaitable
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from listener.errors import HttpRefused, JournalDamaged, JournalError
from listener.web.routes import Call

Position = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]  # what JavaScript counts up to
Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Text = Annotated[str, msgspec.Meta(max_length=80)]  # four of them fit into a request's line, whatever is in them

T = TypeVar("T")


def query_of(call: Call, expected: type[T]) -> T:
    """The query's parameters as a Struct. Raises HttpRefused: one is unknown, comes twice, or is not what it may be."""
    given = call.request.rel_url.query
    values = dict(given)
    if len(values) != len(given):
        raise HttpRefused(400, "query", "a parameter is given twice")
    try:
        for text in values.values():
            text.encode()
        return msgspec.convert(values, expected, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError) as exc:
        raise HttpRefused(400, "query", f"the query is not what is expected here: {exc}") from exc


def given(value: T | UnsetType) -> T | None:
    """What was given, if it was."""
    return None if value is UNSET else value


async def answered(answer: Awaitable[T]) -> T:
    """What the journal tells. Raises HttpRefused: it cannot be asked now."""
    try:
        return await answer
    except (JournalError, JournalDamaged) as exc:
        raise HttpRefused(503, "journal", f"the journal cannot be asked now: {exc}") from exc
