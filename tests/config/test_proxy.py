"""The keys of a proxy: what goes together, and what a mistake is called."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from yarl import URL

from listener.config.proxy import ProxySettings

PROXY = "http://proxy.example.com:3128"


def test_a_proxy_may_want_a_login(tmp_path: Path):
    file = tmp_path / "proxy.secret"
    file.write_text("secret\n")
    settings = ProxySettings(proxy=PROXY, proxy_user="listener", proxy_password_file=file)
    assert (settings.proxy, settings.proxy_user, settings.proxy_password_file) == (PROXY, "listener", file)


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
