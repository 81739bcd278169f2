"""What an error of PostgreSQL means for the lane (PostgreSQL documentation, appendix "PostgreSQL Error Codes")."""

import re

from asyncpg import InterfaceError, InternalClientError, PostgresError

from listener.errors import Outcome, Park, Refusal, Retry

_TEXT_CHARACTERS = 200

TROUBLE = (PostgresError, InterfaceError, InternalClientError, OSError)
"""What the client library raises where something does not work; the third when a connection ends amid an exchange."""

# Classes of codes: the data of a row, and limits of the server that a row is beyond.
_OF_A_ROW = {"22", "54"}
# Login, database, schema, and whatever is wrong with the statement, so with the table; a constraint of the site's own.
_NEED_A_PERSON = {"28", "3D", "3F", "42", "23", "0A"}
_DATABASE_DROPPED = "57P04"
# Their texts name objects and users, never values.
_SPEAK_OF_THE_SERVER = {"08", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "0A"}
_NO_TLS = "rejected SSL upgrade"


def is_of_a_row(error: PostgresError) -> bool:
    """Whether an event is to blame, so that the others can be stored without it."""
    return _code(error)[:2] in _OF_A_ROW


def refusal_of(place: str, error: PostgresError) -> Refusal:
    """Of an event that is to blame; what PostgreSQL says quotes it."""
    return Refusal(f"{place}: a value that PostgreSQL does not take: {_name(error)}", str(error))


def outcome_of(place: str, error: Exception) -> Outcome:
    """Park where a person is needed, Retry of the rest: it ends or starts, has too many connections, is read-only.

    Args:
        place: what the text begins with.
        error: one of `TROUBLE`.
    """
    if isinstance(error, PostgresError):
        code = _code(error)
        kind = Park if code[:2] in _NEED_A_PERSON or code == _DATABASE_DROPPED else Retry
        said = f": {_one_line(str(error))}" if code[:2] in _SPEAK_OF_THE_SERVER else ""
        return kind(f"{place}: {_name(error)}{said}")
    if _NO_TLS in str(error):
        return Park(f"{place}: the server offers no TLS; tls = false does without")
    return Retry(f"{place}: {_one_line(str(error)) or type(error).__name__}")


def _code(error: PostgresError) -> str:
    return str(getattr(error, "sqlstate", None) or "XX000")


def _name(error: PostgresError) -> str:
    return f"{type(error).__name__} ({_code(error)})"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()[:_TEXT_CHARACTERS]
