import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.sinks.postgres.settings import PostgresSettings

URL = "postgresql://db.example.com/crm"


def test_what_is_no_address_is_refused_with_what_is_expected():
    (problem,) = registry.problems("bus", LaneSettings(type="postgres", url="postgresql://db"))
    assert problem.path == "sinks.bus.url"
    assert "postgresql://HOST:PORT/DATABASE" in problem.text


@pytest.mark.parametrize("url", ["postgresql://a:hush@db/crm", "postgresql://db/crm?password=hush"])
def test_credentials_in_the_address_are_refused_and_not_shown(url):
    (problem,) = registry.problems("bus", LaneSettings(type="postgres", url=url))
    assert "give username and password_file" in problem.text
    assert "hush" not in str(problem)


@pytest.mark.parametrize(
    ("table", "quoted"),
    [
        ("dispositions", '"dispositions"'),
        ("audit.Dispositions", '"audit"."Dispositions"'),
        ('x"; DROP TABLE x; --', '"x""; DROP TABLE x; --"'),
    ],
)
def test_the_name_of_a_table_is_quoted_whatever_is_in_it(table, quoted):
    assert PostgresSettings(url=URL, table=table).quoted_table == quoted


@pytest.mark.parametrize("table", ["", "a.", ".a", "a.b.c", "a\0", "ä" * 32])
def test_what_is_no_name_of_a_table_is_refused(table):
    (problem,) = registry.problems("bus", LaneSettings(type="postgres", url=URL, table=table))
    assert problem.path == "sinks.bus.table"
    assert "SCHEMA.TABLE" in problem.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"url": URL, "tls": False, "ca_file": __file__}, "ca_file is for TLS"),
        ({"url": "postgresql:///crm?host=/run", "verify": False}, "verify is for TLS"),
        ({"url": URL, "timeout_s": 0}, "should be more than 0"),
        ({"url": URL, "create_table": "perhaps"}, "should be true or false"),
        ({"url": URL, "password": "hush"}, "a password needs a username"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, text):
    (problem,) = registry.problems("bus", LaneSettings(type="postgres", **options))
    assert text in problem.text
    assert "hush" not in str(problem)
