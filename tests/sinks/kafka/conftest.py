"""A real broker with everything that guards one, librdkafka's mock, and sinks that lead to them."""

import contextlib
from pathlib import Path

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from support.authority import Authority
from support.kafkabroker import PASSWORD, USER, KafkaBroker
from support.kafkamock import KafkaMock

_PLAIN = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_MECHANISMS = {"plain": _PLAIN, "scram-sha-256": _SCRAM, "scram-sha-512": _SCRAM}


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """Whose certificate the broker has."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory, authority):
    """One broker for all: PLAINTEXT for its administrator; SSL wants a certificate, the SASL ones USER."""
    logins = {
        f"listener.name.{listener}.{mechanism}.sasl.jaas.config": module
        for listener in ("sasl_ssl", "sasl_plaintext")
        for mechanism, module in _MECHANISMS.items()
    }
    properties = {
        "sasl.enabled.mechanisms": ",".join(_MECHANISMS).upper(),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.issue("broker")),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
        "listener.name.ssl.ssl.client.auth": "required",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "true",
        **logins,
    }
    users = [f"{name.upper()}=[name={USER},password={PASSWORD}]" for name in _MECHANISMS if name != "plain"]
    with KafkaBroker(
        tmp_path_factory.mktemp("kafka"),
        listeners=("SSL", "SASL_SSL", "SASL_PLAINTEXT", "LINK"),
        properties=properties,
        formatting=tuple(word for user in users for word in ("--add-scram", user)),
    ) as running:
        yield running


@pytest.fixture
def mock(tmp_path):
    with KafkaMock(tmp_path, brokers=2) as running:
        yield running


@pytest.fixture
async def sink_to():
    """Make a sink that is closed with the test: `sink_to(server, topic, **settings)`."""
    async with contextlib.AsyncExitStack() as stack:

        def make(server, topic="dispositions", **options):
            options = {"bootstrap_servers": [server], "topic": topic, "timeout_s": 10, **options}
            sink = registry.build("bus", LaneSettings(type="kafka", **options), base=Path())
            stack.push_async_callback(sink.close)
            return sink

        yield make
