import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry

SECRET = "s3cret-of-the-cluster"


def problems(**options):
    lane = LaneSettings(type="kafka", **{"bootstrap_servers": ["127.0.0.1:9092"], **options})
    return [str(problem) for problem in registry.problems("bus", lane)]


def test_a_server_is_all_that_is_needed():
    assert problems() == []
    assert problems(bootstrap_servers=["a.example.com:9092", "[::1]:9093"]) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"bootstrap_servers": []}, "sinks.bus.bootstrap_servers: should hold at least one server"),
        ({"bootstrap_servers": ["broker"]}, "sinks.bus.bootstrap_servers[0]: should be host:port, such as"),
        ({"bootstrap_servers": ["kafka://broker:1"]}, "sinks.bus.bootstrap_servers[0]: should be host:port, such as"),
        ({"bootstrap_servers": [f"u:{SECRET}@b:1"]}, "sinks.bus.bootstrap_servers[0]: should be host:port, such as"),
        ({"bootstrap_servers": ["b:0"]}, "sinks.bus.bootstrap_servers[0]: should be host:port, with a port from 1"),
        ({"bootstrap_servers": ["b:70000"]}, "sinks.bus.bootstrap_servers[0]: should be host:port, with a port from 1"),
        ({"topic": "a/b"}, "sinks.bus.topic: should be the name of a topic"),
        ({"topic": ".."}, "sinks.bus.topic: should be the name of a topic"),
        ({"mode": "batched"}, "sinks.bus.mode: should be 'structured' or 'binary'"),
        ({"sasl_mechanism": "GSSAPI"}, "sinks.bus.sasl_mechanism: should be 'PLAIN', 'SCRAM-SHA-256' or"),
        ({"timeout_s": -1}, "sinks.bus.timeout_s: should be more than 0"),
        ({"ca_file": __file__}, "sinks.bus: certificates need tls = true"),
        ({"password": SECRET}, "sinks.bus: a password needs a username"),
        ({"acks": 1}, "sinks.bus.acks: unknown key"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place_and_without_secrets(options, problem):
    (found,) = problems(**options)
    assert found.startswith(problem)
    assert SECRET not in found
