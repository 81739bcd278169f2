"""A journal is a file of this host, or a database that replicas share, and never half of either."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from listener.config.journal import JournalSettings, JournalTable
from listener.config.schema import problems_of

URL = "postgresql://db.example.com/dispositions"


def problems(**table) -> list[str]:
    try:
        JournalSettings.model_validate(table)
    except ValidationError as exc:
        return [str(problem) for problem in problems_of(exc, JournalSettings, prefix=("journal",))]
    return []


def test_a_file_of_this_host_is_the_default():
    settings = JournalSettings()
    assert (settings.path, settings.url) == (Path("journal.db"), None)


def test_a_database_is_named_and_everything_else_has_a_default():
    settings = JournalSettings.model_validate({"url": URL})
    assert settings.address == {"host": "db.example.com", "port": 5432, "database": "dispositions"}
    assert settings.encrypted
    assert (settings.schema, settings.pooler, settings.lease_s) == ("disposition_listener", False, 1.0)
    assert settings.replica is None
    assert problems(url=URL, schema="other_2", pooler=True, lease_s=2, replica="host-1.example", max_bytes=2**20) == []


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"path": "x.db", "url": URL}, "journal: give either path, for a file here, or url, for a database"),
        ({"username": "listener"}, "journal: username needs url beside it"),
        ({"tls": False}, "journal: tls needs url beside it"),
        ({"replica": "host1", "path": "x.db"}, "journal: replica needs url beside it"),
        ({"url": URL, "password": "hush"}, "journal: a password needs a username"),
        ({"url": URL, "tls": False, "verify": False}, "journal: verify is for TLS"),
        ({"url": "postgresql://a:hush@db/x"}, "journal.url: must not contain a user name or password"),
        ({"url": "mysql://db/x"}, "journal.url: should be postgresql://HOST:PORT/DATABASE"),
        ({"url": URL, "schema": "Public"}, "journal.schema: should be at most 63 small letters"),
        ({"url": URL, "schema": "pg_temp"}, "journal.schema: should be at most 63 small letters"),
        ({"url": URL, "replica": "two words"}, "journal.replica: should be a name"),
        ({"url": URL, "replica": "a" * 64}, "journal.replica: should be a name"),
        ({"url": URL, "lease_s": 0.1}, "journal.lease_s: should be at least 0.5"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place_and_without_a_secret(table, problem):
    (found,) = problems(**table)
    assert found.startswith(problem)
    assert "hush" not in found


def test_its_settings_are_called_as_in_the_configuration():
    assert JournalTable(Path("etc")).setting("ca_file") == "journal.ca_file"
