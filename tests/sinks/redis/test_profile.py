"""What real servers tell of themselves, and what the sink makes of it."""

import pytest
from structlog.testing import capture_logs

from support.eventually import eventually
from support.redisserver import redis_version


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
    assert line["risks"] == ["wait_replicas is 0: a replica that takes over may lack what was acknowledged last"]
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
