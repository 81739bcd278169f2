import io
import json

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from listener.runtime import logs
from listener.runtime.redaction import MASK, Repeats, redact

SECRET = "hunter2hunter2"


def cleaned(**fields):
    return redact(None, "info", fields)


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "db_password",
        "bearer_token",
        "Authorization",
        "client_secret",
        "cookie",
        "api_key",
        "user_data",
        "userData",
        "body",
    ],
)
def test_what_a_name_gives_away_is_masked_wherever_it_stands(key):
    assert cleaned(**{key: SECRET}) == {key: MASK}
    assert cleaned(settings={key: SECRET, "url": "http://h"}) == {"settings": {key: MASK, "url": "http://h"}}
    assert cleaned(accounts=[{key: SECRET}]) == {"accounts": [{key: MASK}]}


@pytest.mark.parametrize(
    "text",
    [
        f"sent Authorization: Bearer {SECRET}",
        f"Basic {SECRET}",
        f"cannot reach amqp://user:{SECRET}@host/vhost",
        f"password={SECRET}&x=1",
        f'{{"token": "{SECRET}"}}',
        f"client_secret='{SECRET}'",
        f"signed with whsec_{SECRET}",
        f'{{"chat": {{"userData": {{"Name": "{SECRET}"}}}}}}',
    ],
)
def test_what_a_text_gives_away_is_masked(text):
    found = cleaned(error=text)["error"]
    assert SECRET not in found
    assert MASK in found


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "logged_in", "account": "agent1", "csrf": True, "server": "http://127.0.0.1:8080"},
        {"path": "/var/lib/x/journal.db", "last_sequence": 7, "sinks": ["a", "b"]},
        {"reason": "sinks.crm.token_file: cannot read /run/token: No such file or directory"},
        {"problems": ["accounts[0].password_file: cannot read a: No such file"], "token": None, "secret": False},
        {"error": "the server wants basic authentication"},
    ],
)
def test_what_is_none_stays_as_it_is(fields):
    assert cleaned(**fields) == fields


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
            max_leaves=8,
        ),
    )
)
def test_whatever_a_line_holds_it_goes_through(fields):
    assert cleaned(**{f"x{key}": value for key, value in fields.items()}).keys() == {f"x{key}" for key in fields}


def test_every_line_goes_through_it():
    out = io.StringIO()
    logs.configure(style="json", stream=out)
    try:
        structlog.get_logger("x").warning("odd", error=f"Bearer {SECRET}", password=SECRET)
        structlog.get_logger("x").error("failed", exc_info=ValueError(f"token={SECRET}"))
    finally:
        structlog.reset_defaults()
    assert SECRET not in out.getvalue()
    assert json.loads(out.getvalue().splitlines()[0])["password"] == MASK


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def passed(repeats, count, level="warning", **fields):
    through = []
    for _ in range(count):
        try:
            through.append(repeats(None, level, {"logger": "l", "event": "again", **fields}))
        except structlog.DropEvent:
            continue
    return through


def test_what_repeats_comes_a_few_times_a_minute_and_then_says_how_often_it_was_left_out():
    clock = Clock()
    repeats = Repeats(per_minute=3, clock=clock)
    assert len(passed(repeats, 10)) == 3
    assert len(passed(repeats, 2, sink="crm")) == 2, "another sink's lines are others"
    assert len(passed(repeats, 10, level="error")) == 10
    clock.now += 61
    first, second = passed(repeats, 2)
    assert first["repeats_left_out"] == 7
    assert "repeats_left_out" not in second
