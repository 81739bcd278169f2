"""Where a PostgreSQL server is, as libpq writes it."""

import pytest
from pydantic import ValidationError

from listener.config.postgres import PostgresServer

URL = "postgresql://db.example.com/crm"


@pytest.mark.parametrize(
    ("url", "address", "encrypted"),
    [
        (URL, {"host": "db.example.com", "port": 5432, "database": "crm"}, True),
        ("postgres://[::1]:6000/my%20crm", {"host": "::1", "port": 6000, "database": "my crm"}, True),
        ("postgresql:///crm?host=/run/db", {"host": "/run/db", "port": 5432, "database": "crm"}, False),
    ],
)
def test_an_address_is_written_as_libpq_writes_it(url, address, encrypted):
    server = PostgresServer(url=url)
    assert (server.address, server.encrypted) == (address, encrypted)
    assert not PostgresServer(url=url, tls=False).encrypted


@pytest.mark.parametrize(
    "url",
    [
        *("mysql://db/crm", "postgresql://db", "postgresql://db/", "postgresql:///crm", "postgresql://db/a/b"),
        *("postgresql://db/crm?sslmode=disable", "postgresql:///crm?host=db", "postgresql:///crm?host=/a&host=/b"),
        *("postgresql://db:port/crm", "db/crm", ""),
    ],
)
def test_what_is_no_address_is_refused_with_what_is_expected(url):
    with pytest.raises(ValidationError, match="should be postgresql://HOST:PORT/DATABASE"):
        PostgresServer(url=url)


def test_keys_for_tls_are_refused_where_there_is_none():
    with pytest.raises(ValidationError, match="ca_file is for TLS, which needs a host in url and tls = true"):
        PostgresServer(url=URL, tls=False, ca_file=__file__)
