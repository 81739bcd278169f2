"""The keys of a proxy: what goes together, and what a mistake is called."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from yarl import URL

from listener.config.proxy import ProxySettings

PROXY = "http://proxy.example.com:3128"


@pytest.fixture
def login(tmp_path: Path) -> dict[str, object]:
    file = tmp_path / "proxy.secret"
    file.write_text("secret\n")
    return {"proxy_user": "listener", "proxy_password_file": file}


def test_there_is_none_unless_it_is_configured():
    assert ProxySettings().new_proxy("") is None


def test_one_with_a_login_shows_its_user_and_not_its_password(login: dict[str, object]):
    settings = ProxySettings(proxy=PROXY, **login)
    assert settings.new_proxy("secret") is not None
    assert "secret" not in repr(settings.new_proxy("secret"))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"proxy": "proxy:3128"}, "should be http://host:port, without a path"),
        ({"proxy": "https://proxy:3128"}, "should be http://host:port, without a path"),
        ({"proxy": f"{PROXY}/a"}, "should be http://host:port, without a path"),
        ({"proxy": str(URL(PROXY).with_user("a").with_password("b"))}, "must not contain a user name or password"),
        ({"proxy_user": "a"}, "proxy_user needs proxy beside it"),
        ({"proxy": PROXY, "proxy_user": "a"}, "proxy_user and proxy_password_file need each other"),
        ({"proxy": PROXY, "proxy_password_file": "x"}, "proxy_user and proxy_password_file need each other"),
        ({"proxy": PROXY, "proxy_user": "a:b", "proxy_password_file": "x"}, "proxy_user contains a colon"),
    ],
)
def test_what_is_wrong_is_told(keys: dict[str, str], said: str):
    with pytest.raises(ValidationError, match=said):
        ProxySettings(**keys)
