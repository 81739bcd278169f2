import asyncpg
import pytest

from listener.errors import Park, Retry
from listener.sinks.postgres.answers import is_of_a_row, outcome_of, refusal_of


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.CrashShutdownError("terminating connection because of crash of another server process"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.DiskFullError("could not extend file"),
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("another operation is in progress"),
        ConnectionRefusedError(111, "Connect call failed"),
    ],
)
def test_what_passes_by_itself_is_tried_again(error):
    outcome = outcome_of("sinks.bus.url", error)
    assert isinstance(outcome, Retry)
    assert str(error) in outcome.reason


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InvalidPasswordError('password authentication failed for user "listener"'),
        asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"),
        asyncpg.InvalidCatalogNameError('database "crm" does not exist'),
        asyncpg.UndefinedTableError('relation "dispositions" does not exist'),
        asyncpg.UndefinedColumnError('column "event" does not exist'),
        asyncpg.InsufficientPrivilegeError("permission denied for table dispositions"),
        asyncpg.InvalidColumnReferenceError("there is no unique or exclusion constraint"),
        asyncpg.exceptions.DatabaseDroppedError("the database was dropped"),
        ConnectionError('PostgreSQL server at "db:5432" rejected SSL upgrade'),
    ],
)
def test_what_needs_a_person_parks(error):
    assert isinstance(outcome_of("sinks.bus.url", error), Park)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.CheckViolationError("hush"),
        asyncpg.RaiseError("hush"),
        asyncpg.InvalidTextRepresentationError("hush"),
    ],
)
def test_a_text_that_may_quote_an_event_is_not_told(error):
    assert "hush" not in outcome_of("sinks.bus.url", error).reason


def test_a_value_that_is_refused_is_quoted_for_the_dead_letter_alone():
    error = asyncpg.NumericValueOutOfRangeError("hush")
    assert is_of_a_row(error)
    assert not is_of_a_row(asyncpg.UndefinedTableError(""))
    refusal = refusal_of("sinks.bus.url", error)
    assert (refusal.answer, "hush" in refusal.reason) == ("hush", False)
    assert "22003" in refusal.reason
