"""Where the database is, in words and in statements."""

from listener.journal.postgres.options import PostgresOptions


def test_a_place_is_told_without_a_secret():
    options = PostgresOptions(host="::1", database="db", username="me", password=lambda: "secret")
    assert options.place == "postgresql://[::1]:5432/db, schema disposition_listener"


def test_a_schema_is_quoted_whatever_is_in_its_name():
    assert PostgresOptions(host="h", database="db", schema='a"b').quoted_schema == '"a""b"'


def test_without_a_password_or_tls_there_is_none():
    options = PostgresOptions(host="h", database="db")
    assert (options.password(), options.tls()) == ("", None)
