"""Who may reach the HTTP side: what the configuration lets through."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from listener.config.http import HttpSettings, is_loopback, is_token, token_in
from listener.config.loading import load
from listener.errors import ConfigError

BASE = '[server]\nurl = "http://h"\nlogin = "none"\n[sinks.out]\ntype = "stdout"\n[http]\n'


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    """What is wrong with an `[http]` table."""
    config = folder / "listener.toml"
    config.write_text(BASE + text, encoding="utf-8")
    try:
        load(config, environ=environ or {})
    except ConfigError as exc:
        return [str(problem) for problem in exc.problems]
    return []


@pytest.mark.parametrize(
    "listen",
    ["127.0.0.1:0", "127.9.9.9:1", "[::1]:9464", "[::ffff:127.0.0.1]:1", "localhost:9464", "LOCALHOST:1"],
)
def test_on_the_loopback_nothing_more_is_needed(tmp_path: Path, listen: str):
    assert problems(tmp_path, f'listen = "{listen}"') == []


@pytest.mark.parametrize(
    "listen",
    [
        "0.0.0.0:9464",
        "[::]:9464",
        "192.0.2.1:9464",
        "listener.example:9464",
        "localhost.example:1",
        "[::ffff:192.0.2.1]:1",
    ],
)
def test_beyond_it_somebody_has_to_say_so(tmp_path: Path, listen: str):
    (problem,) = problems(tmp_path, f'listen = "{listen}"')
    assert problem == (
        f"http.listen: {listen} can be reached from other hosts: give a token or token_file beside it,"
        " or set allow_remote = true to serve everybody"
    )
    (tmp_path / "http.token").write_text("s3cret\n", encoding="utf-8")
    for more in ("allow_remote = true", 'token = "s3cret"', 'token_file = "http.token"'):
        assert problems(tmp_path, f'{more}\nlisten = "{listen}"') == []
    assert problems(tmp_path, f'listen = "{listen}"', {"LISTENER_HTTP__TOKEN": "s3cret"}) == []


def test_the_rule_holds_for_settings_made_in_code():
    with pytest.raises(ValidationError, match="can be reached from other hosts"):
        HttpSettings(listen="0.0.0.0:9464")


@pytest.mark.parametrize("token", ["", "two words", "ümlaut", "=", "line\\nbreak"])
def test_what_cannot_be_sent_is_no_token_and_is_not_shown(tmp_path: Path, token: str):
    (problem,) = problems(tmp_path, f'token = "{token}"\nlisten = "0.0.0.0:1"')
    assert problem == "http.token: a token consists of letters, digits and -._~+/, with = only at its end"


def test_each_problem_is_told_in_its_own_place(tmp_path: Path):
    (tmp_path / "empty").write_text(" \n", encoding="utf-8")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "good").write_text("s3cret", encoding="utf-8")
    assert problems(tmp_path, 'token_file = "gone"\nlisten = "0.0.0.0:1"') == [
        f"http.token_file: cannot read {tmp_path}/gone: No such file or directory"
    ]
    for name, why in (("empty", "contains no token: "), ("binary", "is UTF-16")):
        (problem,) = problems(tmp_path, f'token_file = "{name}"\nlisten = "0.0.0.0:1"')
        assert problem.startswith(f"http.token_file: {tmp_path}/{name} {why}")
    assert problems(tmp_path, 'token = "a"\ntoken_file = "good"') == [
        "http.token_file: give either token or token_file"
    ]
    assert problems(tmp_path, 'allow_remote = "perhaps"\nlisten = "9464"') == [
        "http.allow_remote: should be true or false",
        'http.listen: should be HOST:PORT, such as "127.0.0.1:9464"',
    ]


def test_a_token_does_not_show(tmp_path: Path):
    assert "s3cret" not in repr(HttpSettings(token="s3cret"))


def test_tokens_and_loopbacks_are_told_apart(tmp_path: Path):
    assert is_token("abc-._~+/09==")
    assert not is_token("a=b")
    assert is_loopback("::1")
    assert not is_loopback("127.1")
    (tmp_path / "token").write_bytes(b"\n abc \r\n")
    assert token_in(tmp_path / "token") == "abc"
