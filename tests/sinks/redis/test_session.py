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
    RedisError,
    ResponseError,
)
from structlog.testing import capture_logs

from listener.errors import Park, Retry
from listener.sinks.redis.session import connect, moved_to, outcome_of
from listener.sinks.redis.settings import RedisSettings
from listener.sinks.registry import SinkContext
from support.eventually import eventually
from support.redisserver import redis_version


@pytest.fixture
def context(tmp_path):
    return SinkContext(name="bus", base=tmp_path)


async def test_answers_come_in_the_order_of_the_commands_and_errors_are_answers(context, server):
    settings = RedisSettings(url=f"{server.address}/1")
    session = await connect(context, settings, settings.address)
    *answers, error, last = await session.ask(("SET", "a", b"\x00"), ("GET", "a"), ("INCR", "a"), ("ECHO", "end"))
    await session.close()
    assert answers == [b"OK", b"\x00"]
    assert isinstance(error, ResponseError)
    assert last == b"end"


async def test_a_connection_that_ended_is_an_error_and_not_made_anew(context, server):
    settings = RedisSettings(url=server.address)
    session = await connect(context, settings, settings.address)
    async with server.outage():
        with pytest.raises(RedisError):
            await session.ask(("PING",))
    await session.close()
    await session.close()


async def test_each_connection_logs_in_with_the_password_of_its_moment(context, start_redis, tmp_path):
    server = start_redis(user="listener on >second ~* +@all")
    settings = RedisSettings(url=server.address, username="listener", password_file="pass")
    (tmp_path / "pass").write_text("first\n", encoding="utf-8")
    with pytest.raises(AuthenticationError):
        await connect(context, settings, settings.address)
    (tmp_path / "pass").write_text("second\n", encoding="utf-8")
    session = await connect(context, settings, settings.address)
    assert await session.ask(("ACL", "WHOAMI")) == [b"listener"]
    await session.close()


async def opened(sink):
    """The one line that it writes then."""
    with capture_logs() as logs:
        await sink.open()
    (line,) = logs
    return line


async def test_a_server_that_writes_to_its_disk_at_once_is_told_without_a_warning(server, sink_to):
    line = await opened(sink_to(server))
    assert line["event"] == "sink_durability"
    assert line["destination"] == f"{server.address}, stream dispositions"
    assert (line["appendonly"], line["appendfsync"]) == ("yes", "always")
    assert (line["maxlen"], line["version"]) == (1_000_000, ".".join(map(str, redis_version())))


WEAK = {
    "snapshots only": ({"appendonly": "no"}, {}, "appendonly is no: "),
    "an fsync each second": ({"appendfsync": "everysec"}, {"wait_fsync": False}, "appendfsync is everysec: "),
    "no fsync": ({"appendfsync": "no"}, {}, "appendfsync is no: "),
    "a cache": ({"maxmemory": "1gb", "maxmemory_policy": "allkeys-lru"}, {}, "maxmemory-policy is allkeys-lru: "),
}


@pytest.mark.parametrize(("server_options", "options", "risk"), WEAK.values(), ids=WEAK)
async def test_a_server_that_may_lose_what_it_took_is_warned_of(start_redis, sink_to, server_options, options, risk):
    line = await opened(sink_to(start_redis(**server_options), **options))
    assert (line["event"], line["log_level"]) == ("sink_durability_weak", "warning")
    (told,) = line["risks"]
    assert told.startswith(risk)


async def test_a_server_that_keeps_its_configuration_to_itself_is_not_trusted(start_redis, sink_to):
    """As services do."""
    server = start_redis(rename_command='CONFIG ""', appendfsync="everysec")
    line = await opened(sink_to(server, wait_fsync=False))
    assert line["risks"] == ["appendfsync is unknown: unless it is always, a power cut loses the last second or two"]


async def test_a_server_that_tells_nothing_at_all_is_used_all_the_same(start_redis, sink_to):
    waitaof = " -waitaof" if redis_version() >= (7, 2) else ""
    line = await opened(sink_to(start_redis(user=f"default on nopass ~* +@all -info -config{waitaof}")))
    assert (line["version"], line["appendonly"]) == ("unknown", "unknown")
    assert line["risks"][0].startswith("appendonly is unknown")


async def test_replicas_that_are_not_waited_for_are_a_risk(start_redis, sink_to):
    server = start_redis()
    replica = start_redis(replicaof=f"127.0.0.1 {server.port}")

    async def connected():
        async with server.client() as client:
            return (await client.info("replication"))["connected_slaves"] == 1

    await eventually(connected)
    line = await opened(sink_to(server))
    assert line["replicas"] == 1
    assert line["risks"] == ["wait_replicas is 0: a replica that takes over may lack the last acknowledged events"]
    assert (await opened(sink_to(server, wait_replicas=1)))["event"] == "sink_durability"
    assert replica.port != server.port


async def test_a_change_is_told_when_the_connection_is_made_anew(start_redis, sink_to):
    server = start_redis()
    sink = sink_to(server)
    assert (await opened(sink))["event"] == "sink_durability"
    with capture_logs() as logs:
        await sink.open()
        assert logs == [], "nothing has changed"
        async with server.client() as client:
            await client.config_set("appendonly", "no")
        await sink.open()
    assert [log["event"] for log in logs] == ["sink_durability_weak"]


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
