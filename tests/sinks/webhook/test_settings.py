"""What can be wrong with the keys of a webhook, told before anything is sent and without a secret."""

import base64
from pathlib import Path

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry

SECRET = "PaSsWoRd"
OAUTH2 = {"token_url": "https://login.example.com/token", "client_id": "a", "client_secret": SECRET}
LONG = "whsec_" + base64.b64encode(SECRET.encode() * 3).decode()


def problems(**options) -> list[str]:
    form = {key: options.pop(key) for key in ("format", "template") if key in options}
    lane = LaneSettings(type="webhook", **{"url": "https://crm.example.com/hook", **options}, **form)
    return [str(problem) for problem in registry.problems("crm", lane, Path())]


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "binary", "signing_secrets": [LONG], "header_templates": {"X-Chat": "chat $chatId"}},
        {"mode": "batched", "oauth2": OAUTH2, "validation": "options", "origin": "listener.example.com"},
        {"username": "a", "password": SECRET, "deny_private_networks": True},
        {"format": "data", "header_templates": {"X-Chat": "$chatId"}},
        {"oauth2": '{"token_url": "https://h", "client_id": "a", "client_secret": "b"}'},
    ],
)
def test_what_is_right_has_no_problems(options):
    assert problems(**options) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"proxy": "https://proxy:3128"}, "sinks.crm.proxy: should be http://host:port"),
        ({"proxy": "http://proxy:1", "proxy_password_file": "gone"}, "sinks.crm.proxy_password_file: cannot read gone"),
        (
            {"proxy": "http://proxy:1", "deny_private_networks": True},
            "sinks.crm: deny_private_networks and proxy do not go together",
        ),
        ({"mode": "bulk"}, "sinks.crm.mode: should be 'structured', 'binary' or 'batched'"),
        ({"mode": "binary", "format": "data"}, 'sinks.crm.mode: "binary" writes CloudEvents, format = "data" does not'),
        ({"mode": "batched", "header_templates": {"X": "$chatId"}}, 'sinks.crm: header_templates and mode = "batched"'),
        ({"signing_secrets": [SECRET]}, "sinks.crm.signing_secrets[0]: a signing secret must begin with whsec_"),
        (
            {"signing_secrets": [f"whsec_{SECRET}"]},
            "sinks.crm.signing_secrets[0]: a whsec_ secret is base64 of 24 to 64",
        ),
        ({"signing_secret_files": ["gone"]}, "sinks.crm.signing_secret_files[0]: cannot read gone: No such file"),
        ({"header_templates": {"X-Chat": "$chat"}}, "sinks.crm.header_templates: X-Chat: names 'chat', known are id,"),
        ({"header_templates": {"X-Chat": "ü$chatId"}}, "sinks.crm.header_templates: X-Chat: should be printable ASCII"),
        ({"header_templates": {"X-Chat": "a\nb"}}, "sinks.crm.header_templates: X-Chat: holds a line end"),
        ({"header_templates": {"Authorization": "$id"}}, "sinks.crm.header_templates: 'Authorization' cannot be set"),
        ({"header_templates": {"webhook-id": "$id"}}, "sinks.crm.header_templates: 'webhook-id' cannot be set"),
        ({"headers": {"Webhook-Signature": SECRET}}, "sinks.crm.headers: 'Webhook-Signature' cannot be set"),
        ({"headers": {"X": "a"}, "header_templates": {"x": "$id"}}, "sinks.crm: the header x is given more than once"),
        ({"mode": "binary", "headers": {"CE-Id": "a"}}, "sinks.crm: the header ce-id cannot be set together with"),
        ({"username": "a:b", "password": SECRET}, "sinks.crm.username: contains a colon"),
        ({"password": SECRET}, "sinks.crm: a password needs a username"),
        ({"username": "a", "bearer_token": SECRET}, "sinks.crm: give one of bearer_token and username"),
        (
            {"oauth2": OAUTH2, "headers": {"authorization": SECRET}},
            "sinks.crm: give one of headers.Authorization and oa",
        ),
        ({"oauth2": {**OAUTH2, "client_id": ""}}, "sinks.crm.oauth2.client_id: must not be empty"),
        ({"oauth2": {**OAUTH2, "client_secrt": SECRET}}, "sinks.crm.oauth2.client_secrt: unknown key, did you mean"),
        ({"oauth2": {**OAUTH2, "token_url": f"ftp://{SECRET}"}}, "sinks.crm.oauth2.token_url: should be a URL"),
        ({"validation": "options"}, 'sinks.crm: validation = "options" needs origin'),
        ({"origin": "https://a"}, "sinks.crm.origin: should be a DNS name"),
        ({"request_rate": 0}, "sinks.crm.request_rate: should be at least 1"),
        ({"client_key_file": __file__}, "sinks.crm: client_key_file needs client_cert_file"),
        ({"url": "http://10.0.0.1/", "deny_private_networks": True}, "sinks.crm: url leads into a private network"),
        ({"url": "http://[::ffff:127.0.0.1]/", "deny_private_networks": True}, "sinks.crm: url leads into a private"),
        (
            {"oauth2": {**OAUTH2, "token_url": "http://127.0.0.1/"}, "deny_private_networks": True},
            "sinks.crm: oauth2.token_url leads into a private network",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_without_secrets(options, expected):
    (problem,) = problems(**options)
    assert problem.startswith(expected)
    assert SECRET not in problem
    assert LONG not in problem


def test_secrets_are_not_in_what_is_printed_of_the_settings():
    lane = LaneSettings(type="webhook", url="https://h", signing_secrets=[LONG], headers={"X": SECRET}, oauth2=OAUTH2)
    sink = registry.build("crm", lane, base=Path())
    assert SECRET not in repr(sink._settings)
    assert LONG not in repr(sink._settings)


def test_secrets_in_files_are_looked_at(tmp_path: Path):
    file = tmp_path / "secret"
    options = {"oauth2": {**OAUTH2, "client_secret_file": str(file)}}
    file.write_text(SECRET)
    assert problems(**options) == ["sinks.crm.oauth2: give either client_secret or client_secret_file"]
    (unsigned,) = problems(signing_secret_files=[str(file)])
    assert unsigned.startswith(f"sinks.crm.signing_secret_files[0]: {file}, line 1: a signing secret must begin with")
    file.write_text(f"{LONG}\n\n{SECRET}")
    (unsigned,) = problems(signing_secret_files=[str(file)])
    assert unsigned.startswith(f"sinks.crm.signing_secret_files[0]: {file}, line 3: ")
    (two,) = problems(bearer_token_file=str(file))
    assert two == f"sinks.crm.bearer_token_file: {file}, line 3: expected the secret alone, in one line"
    assert SECRET not in unsigned + two


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ({"username": "a", "password": SECRET}, ["url"]),
        ({"bearer_token": SECRET}, ["url"]),
        ({"headers": {"authorization": SECRET}}, ["url"]),
        ({"oauth2": OAUTH2}, ["url"]),
        ({"oauth2": OAUTH2 | {"token_url": "http://login.example.com/token"}}, ["oauth2.token_url", "url"]),
        ({"url": "https://crm.example.com", "bearer_token": SECRET}, []),
        ({"url": "http://127.0.0.1:9", "bearer_token": SECRET}, []),
        ({"signing_secrets": [LONG]}, []),
    ],
)
def test_a_login_that_passes_a_network_unencrypted_is_told(options, keys):
    lane = LaneSettings(type="webhook", **{"url": "http://crm.example.com/hook", **options})
    found = registry.exposures("crm", lane, Path())
    assert [problem.path for problem in found] == [f"sinks.crm.{key}" for key in keys]
    assert all("example.com unencrypted: use https://" in problem.text for problem in found)
