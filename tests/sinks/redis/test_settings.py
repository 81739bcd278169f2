from pathlib import Path

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.sinks.redis.settings import RedisSettings


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache.example.com", {"host": "cache.example.com", "port": 6379, "db": 0}),
        ("redis://cache.example.com:7000/", {"host": "cache.example.com", "port": 7000, "db": 0}),
        ("rediss://[::1]:7000/3", {"host": "::1", "port": 7000, "db": 3}),
        ("unix:///run/redis/redis.sock", {"path": "/run/redis/redis.sock", "db": 0}),
        ("unix:///run/redis/redis.sock?db=2", {"path": "/run/redis/redis.sock", "db": 2}),
    ],
)
def test_an_address_is_written_as_redis_writes_it(url, address):
    assert RedisSettings(url=url).address == address


@pytest.mark.parametrize(
    "url",
    [
        *("http://cache", "redis:///0", "redis://cache/zero", "redis://cache/0?ssl_cert_reqs=none", "cache:6379"),
        *("unix://run/redis.sock", "unix:///", "unix:///redis.sock?password=", "redis://cache:port", ""),
    ],
)
def test_what_is_no_address_of_redis_is_refused_with_what_is_expected(url):
    (problem,) = registry.problems("bus", LaneSettings(type="redis", url=url))
    assert problem.path == "sinks.bus.url"
    assert "redis://HOST:PORT/DB" in problem.text or "password_file" in problem.text


@pytest.mark.parametrize("url", ["redis://:hush@cache", "redis://hush@cache", "unix:///a?password=hush"])
def test_credentials_in_the_address_are_refused_and_not_shown(url):
    (problem,) = registry.problems("bus", LaneSettings(type="redis", url=url))
    assert "give username and password_file" in problem.text
    assert "hush" not in str(problem)


@pytest.mark.parametrize(
    ("stream", "marks"),
    [
        ("dispositions", "{dispositions}:ids"),
        ("{crm}.dispositions", "{crm}.dispositions:ids"),
        ("a{b", "{a{b}:ids"),
        ("a}{b}", "a}{b}:ids"),
    ],
)
def test_the_marks_are_where_a_cluster_has_the_stream(stream, marks):
    assert RedisSettings(url="redis://cache", stream=stream).marks == marks


@pytest.mark.parametrize("stream", ["", "a}b", "{}a", "{}{b}"])
def test_a_stream_whose_marks_a_cluster_might_have_elsewhere_is_refused(stream):
    (problem,) = registry.problems("bus", LaneSettings(type="redis", url="redis://cache", stream=stream))
    assert problem.path == "sinks.bus.stream"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"verify": False}, "verify is for TLS"),
        ({"ca_file": __file__}, "ca_file is for TLS"),
        ({"maxlen": -1}, "should be at least 0"),
        ({"timeout_s": 0}, "should be more than 0"),
        ({"password": "hush"}, "a password needs a username"),
        ({"max_len": 5}, "did you mean 'maxlen'?"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, text):
    (problem,) = registry.problems("bus", LaneSettings(type="redis", url="redis://cache", **options), Path("/"))
    assert text in problem.text
    assert "hush" not in str(problem)
