import pytest
from pydantic import SecretStr, ValidationError

from listener.config.login import LoginSettings, secret_of
from listener.errors import Retry
from listener.sinks.registry import SinkContext


@pytest.fixture
def context(tmp_path):
    return SinkContext(name="bus", base=tmp_path)


async def test_what_the_configuration_says_is_the_secret(context):
    assert await secret_of(context, "token", inline=SecretStr("abc"), file=None) == "abc"
    assert await secret_of(context, "token", inline=None, file=None) is None


async def test_a_file_is_read_each_time_so_that_a_rotated_secret_is_found(context, tmp_path):
    login = LoginSettings(username="agent", password_file="pass")
    (tmp_path / "pass").write_text("one\n", encoding="utf-8")
    assert await login.password_now(context) == "one"
    (tmp_path / "pass").write_text("two", encoding="utf-8")
    assert await login.password_now(context) == "two"


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, "No such file"), (b"\n", "is empty"), (b"s\xffcret", "it is not UTF-8"), (b"s\ncret", "line 2")],
)
async def test_a_file_without_a_usable_secret_is_told_with_its_setting_and_without_what_it_holds(
    context, tmp_path, content, text
):
    if content is not None:
        (tmp_path / "pass").write_bytes(content)
    with pytest.raises(Retry) as caught:
        await LoginSettings(username="agent", password_file="pass").password_now(context)
    assert caught.value.reason.startswith("sinks.bus.password_file: ")
    assert text in caught.value.reason
    assert "\ncret" not in caught.value.reason
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"username": "a", "password": "b", "password_file": "c"}, "give either password or password_file"),
        ({"password": "b"}, "a password needs a username"),
    ],
)
def test_a_login_that_makes_no_sense_is_refused(options, text):
    with pytest.raises(ValidationError, match=text):
        LoginSettings(**options)
