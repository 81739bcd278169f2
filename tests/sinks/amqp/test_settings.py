import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.sinks.amqp.settings import AmqpSettings

SECRET = "PaSsWoRd"
URL = "amqps://mq.example.com"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"queue": "q"}, "sinks.bus.url: "),
        ({"url": "http://mq", "queue": "q"}, "sinks.bus.url: should be amqps://HOST"),
        ({"url": "amqp://", "queue": "q"}, "sinks.bus.url: should be amqps://HOST"),
        ({"url": "amqp://mq/a/b", "queue": "q"}, "sinks.bus.url: should be amqps://HOST"),
        ({"url": "amqp://mq:0", "queue": "q"}, "sinks.bus.url: should be amqps://HOST"),
        ({"url": "amqp://mq?heartbeat=1", "queue": "q"}, "sinks.bus.url: should be amqps://HOST"),
        ({"url": f"amqp://me:{SECRET}@mq", "queue": "q"}, "sinks.bus.url: must not contain a user name or password"),
        ({"url": URL, "queue": ""}, "sinks.bus.queue: "),
        ({"url": URL, "exchange": "é" * 128}, "sinks.bus.exchange: should have at most 255 bytes"),
        ({"url": URL, "exchange": "e", "declare": True}, "sinks.bus: declare needs queue together with exchange"),
        ({"url": URL, "queue": "q", "queue_type": "stream"}, "sinks.bus.queue_type: "),
        ({"url": URL, "queue": "q", "mode": "batched"}, "sinks.bus.mode: "),
        ({"url": URL, "exchange": "e", "routing_key": "$chat"}, "sinks.bus.routing_key: names 'chat', known are id, "),
        ({"url": "amqp://mq", "queue": "q", "verify": False}, "sinks.bus: verify needs a url that starts with amqps"),
        ({"url": URL, "queue": "q", "password": SECRET}, "sinks.bus: a password needs a username"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_without_secrets(tmp_path, options, problem):
    problems = registry.problems("bus", LaneSettings(type="amqp", **options), tmp_path)
    assert any(str(found).startswith(problem) for found in problems), problems
    assert SECRET not in str(problems)


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("amqp://mq", ("mq", 5672, "/", False)),
        ("amqps://mq/", ("mq", 5671, "/", True)),
        ("amqp://mq:1/cc", ("mq", 1, "cc", False)),
        ("amqp://[::1]/contact%20center", ("::1", 5672, "contact center", False)),
        ("amqp://mq/%2F", ("mq", 5672, "/", False)),
        ("amqp://mq/a%2Fb", ("mq", 5672, "a/b", False)),
    ],
)
def test_a_url_names_host_port_and_virtual_host(url, broker):
    assert AmqpSettings(url=url, queue="q").broker == broker


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({}, "dispositions"),
        ({"queue": "a$b"}, "a$$b"),
        ({"exchange": "e"}, "$type"),
        ({"exchange": "e", "queue": "q"}, "$type"),
        ({"queue": "q", "routing_key": "$account"}, "$account"),
    ],
)
def test_the_routing_key_follows_from_the_way_unless_it_is_given(options, key):
    assert AmqpSettings(url=URL, **options).key_template == key
