import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry

SECRET = "s3cret-of-the-bus"


def problems(**options):
    lane = LaneSettings(type="nats", **{"servers": ["nats://127.0.0.1:4222"], **options})
    return [str(problem) for problem in registry.problems("bus", lane)]


def test_an_address_is_all_that_is_needed():
    assert problems() == []
    assert problems(servers=["tls://one.example.com", "tls://[::1]:4223"]) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"servers": []}, "sinks.bus.servers: should hold at least one address"),
        ({"servers": ["http://bus:4222"]}, "sinks.bus.servers[0]: should be an address such as nats://host:4222"),
        ({"servers": ["nats://bus:99999"]}, "sinks.bus.servers[0]: should be an address such as nats://host:4222"),
        ({"servers": [f"nats://u:{SECRET}@bus"]}, "sinks.bus.servers[0]: must not contain a user name or password"),
        ({"servers": ["nats://a", "tls://b"]}, "sinks.bus: the servers should all begin with nats://, or all"),
        ({"subject": "dispositions.*"}, "sinks.bus.subject: should be a subject without wildcards"),
        ({"subject": "$JS.API"}, "sinks.bus.subject: should be a subject without wildcards"),
        ({"stream": "a.b"}, "sinks.bus.stream: should be the name of a stream"),
        ({"timeout_s": 0}, "sinks.bus.timeout_s: should be more than 0"),
        ({"username": "u", "password": SECRET, "token": SECRET}, "sinks.bus: give one of username and token"),
        ({"password": SECRET}, "sinks.bus: a password needs a username"),
        ({"nkey_file": "missing.nk"}, "sinks.bus.nkey_file: cannot read"),
        ({"subjects": "x"}, "sinks.bus.subjects: unknown key, did you mean 'subject'?"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place_and_without_secrets(options, problem):
    (found,) = problems(**options)
    assert found.startswith(problem)
    assert SECRET not in found
