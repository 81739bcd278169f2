import pytest
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the library's own name
    InvalidResponse,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

from listener.errors import Park, Retry
from listener.sinks.redis.answers import moved_to, outcome_of


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        ReadOnlyError("You can't write against a read only replica."),
        BusyLoadingError("Redis is loading the dataset in memory"),
        ClusterDownError("Hash slot not served"),
        ResponseError(
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."
        ),
        ResponseError("NOREPLICAS Not enough good replicas to write."),
        ResponseError("BUSY Redis is busy running a script."),
        ConnectionError("Error 111 connecting to 127.0.0.1:6379."),
        ConnectionError("max number of clients reached"),
        InvalidResponse("Protocol Error: b'HTTP/1.1 400'"),
    ],
)
def test_what_passes_by_itself_is_tried_again(error):
    assert isinstance(outcome_of("sinks.bus.url", error), Retry)


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("invalid username-password pair or user is disabled."),
        AuthenticationError("Authentication required."),
        NoPermissionError("this user has no permissions to run the 'eval' command"),
        ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
        ResponseError("ERR Error running script (call to f_1): @user_script:17: WRONGTYPE Operation against a key"),
        ResponseError("ERR ACL failure in script: User joe has no permissions to run the 'xadd' command"),
        ResponseError("The user executing the script can't run this command or subcommand script: 1f"),
        ResponseError("ERR DB index is out of range"),
        ResponseError("ERR SELECT is not allowed in cluster mode"),
    ],
)
def test_what_needs_a_person_parks(error):
    assert isinstance(outcome_of("sinks.bus.url", error), Park)


@pytest.mark.parametrize(
    "error",
    [
        ResponseError("ERR unknown command 'AUTH', with args beginning with: 'listener' 'hush' "),
        AuthenticationError("'hush' is wrong"),
        InvalidResponse("Protocol Error: b'hush'"),
    ],
)
def test_nothing_that_was_sent_is_quoted(error):
    outcome = outcome_of("sinks.bus.url", error)
    assert "hush" not in outcome.reason
    assert outcome.reason.startswith("sinks.bus.url: ")


def test_a_text_of_redis_is_one_short_line():
    reason = outcome_of("sinks.bus.url", ResponseError("ERR one\r\ntwo" + "x" * 10_000)).reason
    assert reason.startswith("sinks.bus.url: ERR one two")
    assert len(reason) < 300


@pytest.mark.parametrize(
    ("answer", "node"),
    [
        (MovedError("3999 127.0.0.1:6381"), {"host": "127.0.0.1", "port": 6381}),
        (ResponseError("MOVED 3999 ::1:6381"), {"host": "::1", "port": 6381}),
        (ResponseError("MOVED 3999 :6381"), {"port": 6381}),
        (ResponseError("ERR 3999 127.0.0.1:6381"), None),
        (b"MOVED 3999 127.0.0.1:6381", None),
    ],
)
def test_the_node_that_has_the_stream_is_read_from_a_redirection(answer, node):
    assert moved_to(answer) == node
