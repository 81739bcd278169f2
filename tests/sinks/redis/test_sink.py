"""Delivery to real servers that refuse, fail over, encrypt, or belong to a cluster."""

import asyncio
import contextlib

import pytest
from structlog.testing import capture_logs

from listener.errors import Park, Retry, StartError
from listener.testing.events import sample_event
from support.authority import Authority
from support.broker import free_port
from support.eventually import eventually
from support.redisserver import redis_version

EVENTS = [sample_event(number, sequence=number) for number in range(1, 6)]
PERMISSIONS = "+eval +xadd +xrange +xinfo +xtrim +zadd +zscore +zrevrange +zremrangebyrank"


async def ids(server, **login):
    return [fields["id"] for _, fields in await server.entries(**login)]


ALL = [event.id for event in EVENTS]


# Who may write, and what.


async def test_a_user_with_few_permissions_on_two_keys_is_enough(start_redis, sink_to):
    """What full.toml names. The rest (INFO, CONFIG, WAITAOF) is for telling what an acknowledgement is worth."""
    server = start_redis(
        user=f"listener on >hush resetchannels ~dispositions ~{{dispositions}}:ids -@all {PERMISSIONS}"
    )
    sink = sink_to(server, username="listener", password="hush")
    await sink.check()
    await sink.deliver(EVENTS[:3])
    await sink.deliver([EVENTS[4]])
    await sink.deliver(EVENTS)
    assert await ids(server) == [event.id for event in (*EVENTS[:3], EVENTS[4], EVENTS[3])]


@pytest.mark.parametrize(
    "missing", [*(word for word in PERMISSIONS.split() if word != "+eval"), "~{dispositions}:ids", "~dispositions"]
)
async def test_a_permission_that_is_needed_one_day_is_missed_at_the_start(start_redis, sink_to, missing):
    if redis_version() < (7,):
        pytest.skip("scripts can ask for permissions since Redis 7")
    rules = [word for word in (*PERMISSIONS.split(), "~{dispositions}:ids", "~dispositions") if word != missing]
    server = start_redis(user=f"listener on >hush -@all {' '.join(rules)}")
    sink = sink_to(server, username="listener", password="hush")
    for attempt in (sink.check, sink.open):
        with pytest.raises(Park, match=r"may not use|[Nn]o permissions"):
            await attempt()


@pytest.mark.parametrize("login", [{"username": "listener", "password": "hush"}, {}])
async def test_a_login_that_is_refused_parks_and_is_not_told(start_redis, sink_to, login):
    server = start_redis(requirepass="other")
    with capture_logs() as logs, pytest.raises(Park, match="refuses the login") as caught:
        await sink_to(server, **login).open()
    assert "hush" not in f"{caught.value.reason}{logs}"
    await sink_to(server, username="default", password="other").deliver(EVENTS)


@pytest.mark.parametrize("key", ["dispositions", "{dispositions}:ids"])
async def test_a_key_of_another_type_parks(server, sink_to, key):
    async with server.client() as client:
        await client.set(key, "something else")
    sink = sink_to(server)
    for attempt in (sink.check, sink.open):
        with pytest.raises(Park, match="WRONGTYPE"):
            await attempt()


async def test_a_database_that_is_not_there_parks(server, sink_to):
    with pytest.raises(Park, match="DB index"):
        await sink_to(server, url=f"{server.address}/99").open()


async def test_another_database_is_used_as_the_address_says(server, sink_to):
    await sink_to(server, url=f"{server.address}/3").deliver(EVENTS)
    assert await ids(server, db=3) == ALL
    assert await ids(server) == []


# Troubles that pass.


async def test_a_server_without_memory_is_waited_for(start_redis, sink_to):
    server = start_redis(maxmemory_policy="noeviction")
    sink = sink_to(server)
    await sink.deliver(EVENTS[:2])
    async with server.client() as client:
        await client.config_set("maxmemory", 1)
        with pytest.raises(Retry, match="maxmemory"):
            await sink.deliver(EVENTS)
        assert await ids(server) == ALL[:2]
        await client.config_set("maxmemory", 0)
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL


async def test_a_server_that_became_a_replica_is_waited_for_and_a_new_master_found(start_redis, sink_to):
    server, other = start_redis(), start_redis()
    sink = sink_to(server)
    await sink.deliver(EVENTS[:2])
    async with server.client() as client:
        await client.replicaof("127.0.0.1", other.port)
        with pytest.raises(Retry):
            await sink.deliver(EVENTS)
        with pytest.raises(Retry, match="replica"):
            await sink.check()
        await client.replicaof("NO", "ONE")
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL


async def test_something_else_that_answers_there_is_waited_for(sink_to, owned):
    async def answer(_reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\nhush")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    owned.callback(listening.close)
    sink = sink_to(None, url=f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    with pytest.raises(Retry) as caught:
        await sink.open()
    assert "hush" not in caught.value.reason


# What is waited for behind a write.


@contextlib.asynccontextmanager
async def replicated(start_redis):
    server = start_redis()
    replica = start_redis(replicaof=f"127.0.0.1 {server.port}")

    async def synced():
        async with server.client() as client:
            return (await client.info("replication")).get("slave0", {}).get("state") == "online"

    await eventually(synced)
    yield server, replica


async def test_a_batch_is_acknowledged_once_as_many_replicas_have_it_as_asked_for(start_redis, sink_to):
    async with replicated(start_redis) as (server, replica):
        await sink_to(server, wait_replicas=1).deliver(EVENTS)
        assert await ids(replica) == ALL
        with pytest.raises(Retry, match="1 of wait_replicas = 2"):
            await sink_to(server, wait_replicas=2, timeout_s=0.4).deliver(EVENTS)


async def test_a_repetition_waits_for_the_replicas_as_well(start_redis, sink_to):
    """Asked over a new connection that has written nothing, Redis 7.2 and later would take that for replicated."""
    async with replicated(start_redis) as (server, replica):
        async with replica.stall():
            for _ in range(2):
                with pytest.raises(Retry, match="0 of wait_replicas = 1"):
                    await sink_to(server, wait_replicas=1, timeout_s=0.4).deliver(EVENTS)
        await sink_to(server, wait_replicas=1).deliver(EVENTS)
        assert await ids(replica) == ALL


async def test_a_server_that_can_tell_is_waited_for_until_its_disk_has_the_batch(start_redis, sink_to):
    if redis_version() < (7, 2):
        pytest.skip("WAITAOF came with Redis 7.2")
    server = start_redis(appendfsync="everysec")
    sink = sink_to(server)
    with capture_logs() as logs:
        await sink.deliver(EVENTS)
    assert [(log["event"], log["waits_for_fsync"]) for log in logs] == [("sink_durability", True)]
    assert await ids(server) == ALL
    async with server.client() as client:
        assert (await client.info("commandstats"))["cmdstat_waitaof"]["calls"] == 2, "asked for at the start, and used"


async def test_a_server_whose_fsyncs_nobody_waits_for_is_not_waited_for(start_redis, sink_to):
    server = start_redis(appendfsync="no")
    await sink_to(server, timeout_s=2).deliver(EVENTS)
    assert await ids(server) == ALL


async def test_where_the_disk_does_not_follow_in_time_the_batch_comes_again(start_redis, sink_to):
    if redis_version() < (7, 2):
        pytest.skip("WAITAOF came with Redis 7.2")
    server = start_redis(appendfsync="everysec")
    patient, hasty = sink_to(server), sink_to(server, timeout_s=0.4)
    await hasty.open()
    await patient.deliver(EVENTS[:2])  # the next fsync is a second away
    with pytest.raises(Retry, match="not on its disk yet"):
        await hasty.deliver(EVENTS)
    await patient.deliver(EVENTS)
    assert await ids(server) == ALL


# Ways to a server.


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


async def test_over_tls_both_sides_are_verified(start_redis, sink_to, authority):
    server = start_redis(authority=authority)
    own = authority.issue("client").name
    await sink_to(server, ca_file="ca.pem", client_cert_file=own).deliver(EVENTS)
    assert await ids(server) == ALL
    for options in ({"client_cert_file": own}, {"ca_file": "ca.pem"}):
        with pytest.raises(Retry):
            await sink_to(server, **options).open()
    await sink_to(server, verify=False, client_cert_file=own).check()


async def test_a_certificate_for_another_host_is_refused(start_redis, sink_to, authority):
    server = start_redis(authority=authority, bind="127.0.0.1 127.0.0.2")
    options = {"ca_file": "ca.pem", "client_cert_file": authority.issue("client").name}
    await sink_to(server, url=f"rediss://localhost:{server.port}", **options).check()
    with pytest.raises(Retry, match="IP address mismatch"):
        await sink_to(server, url=f"rediss://127.0.0.2:{server.port}", **options).check()


async def test_a_certificate_that_is_none_is_told_with_its_setting(server, sink_to, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    with pytest.raises(StartError, match=r"sinks\.bus\.ca_file"):
        await sink_to(server, url=f"rediss://127.0.0.1:{server.port}", ca_file="ca.pem").open()


async def test_a_socket_of_the_host_is_a_way_too(start_redis, sink_to, tmp_path):
    server = start_redis(unixsocket=tmp_path / "redis.sock")
    await sink_to(server, url=f"unix://{tmp_path}/redis.sock").deliver(EVENTS)
    assert await ids(server) == ALL


# A cluster.


@pytest.fixture
async def cluster(start_redis):
    """Two nodes, the one that is asked first and the one that has the stream."""
    if redis_version() < (7,):
        pytest.skip("a cluster's second port can be chosen since Redis 7")
    buses = [free_port() for _ in range(2)]
    nodes = [start_redis(cluster_enabled="yes", cluster_node_timeout=2000, cluster_port=bus) for bus in buses]
    async with nodes[0].client() as client:
        slot = await client.execute_command("CLUSTER KEYSLOT", "dispositions")
        assert slot == await client.execute_command("CLUSTER KEYSLOT", "{dispositions}:ids")
        await client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[1].port, buses[1])
        await client.execute_command("CLUSTER ADDSLOTSRANGE", 0, slot - 1, slot + 1, 16383)
    async with nodes[1].client() as client:
        await client.execute_command("CLUSTER ADDSLOTS", slot)
    return nodes


async def healthy(node):
    async with node.client() as client:
        return (await client.execute_command("CLUSTER INFO"))["cluster_state"] == "ok"


async def test_in_a_cluster_the_node_is_found_that_has_the_stream(cluster, sink_to):
    asked, other = cluster
    sink = sink_to(asked)
    for node in cluster:
        await eventually(lambda node=node: healthy(node))
    await sink.check()
    await sink.deliver(EVENTS[:2])
    async with other.outage():
        with pytest.raises(Retry):
            await sink.deliver(EVENTS)
    await eventually(lambda: healthy(asked))
    await eventually(lambda: healthy(other))
    await sink.deliver(EVENTS)
    assert await ids(other) == ALL


async def test_a_cluster_that_serves_nothing_is_waited_for(start_redis, sink_to):
    with pytest.raises(Retry, match="Hash slot not served"):
        await sink_to(start_redis(cluster_enabled="yes", cluster_port=free_port())).open()
