"""Parts made from settings, against a simulated site where they talk."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from listener.config.lane import LaneSettings
from listener.config.settings import Settings
from listener.daemon import assembly
from listener.daemon.assembly import Account, identity_of, policy_of, source_of
from listener.errors import ConfigError, LoginRefused, Unreachable
from listener.model.event import SessionState
from listener.runtime.http_client import Connector
from listener.runtime.metrics import Metrics
from listener.simulator import Simulator, SimulatorOptions
from support.config import write_config

PASSWORD = "secret"
WEBHOOK = {"type": "webhook", "url": "http://127.0.0.1:9"}


def settings(tmp_path: Path = Path(), **server: Any) -> Settings:
    return Settings.model_validate(
        {
            "server": {"url": "http://127.0.0.1:1", **server},
            "accounts": [{"username": "agent1", "password": PASSWORD}],
            "sinks": {"audit": {"type": "file", "path": "a.jsonl"}},
            "base": tmp_path,
        }
    )


def saved_session(wanted: Settings, **fields: Any) -> SessionState:
    identity = identity_of(wanted, wanted.accounts[0])
    return SessionState(
        **{
            "account": "agent1",
            "url": identity.url,
            "topic": ",".join(identity.topics.values()),
            "client_id": "old",
            "connection_type": "long-polling",
            "ack": 5,
            "seen_ms": 1,
            "max_interval_ms": 8000,
            **fields,
        }
    )


class World:
    """A site, and accounts made for it."""

    def __init__(self, sim: Simulator, connector: Connector) -> None:
        self.sim = sim
        self.metrics = Metrics()
        self._connector = connector

    async def account(self, *, password: str = PASSWORD, saved: SessionState | None = None, **server: Any) -> Account:
        wanted = settings(url=self.sim.url, **server)
        account = wanted.accounts[0].model_copy(update={"password": SecretStr(password)})
        return Account(settings=wanted, account=account, connector=self._connector, metrics=self.metrics, saved=saved)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(SimulatorOptions(csrf=True)))
        connector = Connector(limit=0)
        stack.push_async_callback(connector.close)
        yield World(sim, connector)


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        ({}, "http://127.0.0.1:1/api/v2/me/chats"),
        ({"notifications": "/cometd", "topic": "/v2/me/chats"}, "http://127.0.0.1:1/v2/me/chats"),
        ({"notifications": "/gws/api/v2/notifications"}, "http://127.0.0.1:1/gws/api/v2/me/chats"),
        ({"url": "https://h/base/", "topic": "/v2/me/*"}, "https://h/base/api/v2/me/*"),
    ],
)
def test_the_source_of_events_is_the_topic_as_a_resource_of_the_server(server: dict[str, Any], expected: str):
    assert source_of(settings(**server)) == expected


def test_a_session_belongs_to_an_account_at_a_url_with_a_topic():
    wanted = settings(url="http://h:1/", topic="/t")
    identity = identity_of(wanted, wanted.accounts[0])
    assert (identity.account, identity.url, identity.topics) == (
        "agent1",
        "http://h:1/api/v2/notifications",
        {"chat": "/t"},
    )


async def test_every_setting_of_the_server_reaches_the_part_that_it_is_for(world: World):
    parts = await world.account(
        connect_timeout_s=3, poll_margin_s=4, max_message_bytes=70_000, ack=False, topic="/t", transport="websocket"
    )
    link = parts.client.link
    assert (link.connecting_s(), link.margin_s, link.max_message_bytes) == (3, 4, 70_000)
    session = parts.engine.session
    assert (session.topics, session.connection_type) == (["/t"], "websocket")
    assert "ext" not in session.next_request().payload[0]


async def test_the_session_opens_with_login_and_csrf_and_ends_for_good(world: World):
    parts = await world.account()
    await parts.client.open()
    assert world.sim.subscribed("agent1")
    assert world.metrics.value("logins_total", "ok") == 1
    await parts.client.close()
    assert world.sim.state()["sessions"] == []


async def test_a_server_without_the_rest_api_needs_no_login(world: World):
    parts = await world.account(login="none")
    assert parts.rest is None
    assert dict(parts.client.link._headers()) == {}
    assert parts.engine._logged_in


async def test_a_saved_session_goes_on_with_its_cookies_and_login(world: World):
    first = await world.account()
    await first.client.open()
    cookies = assembly.connections.saved_cookies(first.http)
    resume = first.engine.session.snapshot(None)
    assert resume is not None
    assert first.client.link.transport is not None
    await first.client.link.transport.close()
    saved = saved_session(
        settings(url=world.sim.url), client_id=resume.client_id, ack=None, cookies=cookies, max_interval_ms=None
    )
    second = await world.account(saved=saved)
    await second.client.open()
    assert world.sim.state()["handshakes"] == 1
    assert world.metrics.value("logins_total", "ok") == 1, "the login of the earlier process still holds"
    await second.client.close()


async def test_what_was_saved_is_what_the_session_goes_on_from(world: World):
    parts = await world.account(saved=saved_session(settings()))
    session = parts.engine.session
    assert (session.client_id, session.acked, session.max_interval_ms) == ("old", 5, 8000)


@pytest.mark.parametrize(("clean", "kept_s"), [(True, 8.0), (False, 38.0)])
async def test_the_last_poll_of_a_process_that_was_killed_may_be_held_for_as_long_as_is_usual(
    world: World, clean, kept_s
):
    engine = (await world.account(saved=saved_session(settings(), clean=clean))).engine
    engine.lease.failed()
    now_s = engine.lease._now_s()
    engine.lease._now_s = lambda: now_s + kept_s - 1.0
    assert not engine.lease.is_over()
    engine.lease._now_s = lambda: now_s + kept_s + 1.0
    assert engine.lease.is_over()


async def test_a_login_that_could_not_be_checked_yet_is_not_thrown_away(world: World):
    """Its cookie is what a sticky load balancer knows the session's node by."""
    parts = await world.account(saved=saved_session(settings(), cookies=(("JSESSIONID", "x", "", "/"),)))
    await world.sim.stop()
    for _ in range(2):
        with pytest.raises(Unreachable):
            await parts._log_in()
    assert [cookie.value for cookie in parts.http.cookie_jar if cookie.key == "JSESSIONID"] == ["x"]


async def test_a_login_that_holds_no_longer_is_made_anew(world: World):
    parts = await world.account(saved=saved_session(settings(), cookies=(("JSESSIONID", "gone", "", "/"),)))
    await parts._log_in()
    assert world.metrics.value("logins_total", "ok") == 1


async def test_a_wrong_password_is_refused_each_time(world: World):
    parts = await world.account(password="wrong", saved=saved_session(settings()))
    for _ in range(2):
        with pytest.raises(LoginRefused):
            await parts._log_in()


async def test_what_comes_before_listening_comes_after_the_first_login_and_once(world: World):
    parts = await world.account()
    seen: list[float] = []

    async def look() -> None:
        seen.append(world.metrics.value("logins_total", "ok"))

    parts.before_listening = look
    await parts._log_in()
    await parts._log_in()
    assert seen == [1]


def test_the_configuration_is_checked_with_its_sinks_and_certificates(tmp_path: Path):
    account = [{"username": "a", "password": "x"}]
    with pytest.raises(ConfigError) as caught:
        assembly.load_checked(
            write_config(tmp_path, server={"url": "http://h"}, accounts=account, sinks={"audit": {"pth": "x"}})
        )
    assert any(problem.path.startswith("sinks.audit.") for problem in caught.value.problems)
    (tmp_path / "ca.pem").write_text("nothing")
    config = write_config(tmp_path, server={"url": "http://h", "ca_file": tmp_path / "ca.pem"}, accounts=account)
    with pytest.raises(ConfigError) as caught:
        assembly.load_checked(config)
    assert [problem.path for problem in caught.value.problems] == ["server.ca_file"]


WRONG_KEYS = {
    "format": "xml",
    "template": 5,
    "template_type": 5,
    "fields": 5,
    "batch": "many",
    "events": [],
    "dispositions": 1.5,
    "retry_horizon_h": "often",
    "on": 5,
}
OF_KINDS = {
    "file": {"path": "a.jsonl"},
    "stdout": {},
    "webhook": WEBHOOK,
    "syslog": {"host": "127.0.0.1"},
}


@pytest.mark.parametrize("kind", OF_KINDS)
@pytest.mark.parametrize("key", WRONG_KEYS)
def test_a_shared_key_that_is_wrong_is_a_problem_of_its_own_whatever_the_kind(tmp_path: Path, kind: str, key: str):
    table = {"type": kind, **OF_KINDS[kind], key: WRONG_KEYS[key]}
    account = [{"username": "a", "password": "x"}]
    with pytest.raises(ConfigError) as caught:
        assembly.load_checked(
            write_config(tmp_path, server={"url": "http://h"}, accounts=account, sinks={"one": table}), environ={}
        )
    assert {problem.path.partition("[")[0] for problem in caught.value.problems} == {f"sinks.one.{key}"}


UNREADABLE = "/proc/self/mem"  # what is at its beginning is an I/O error


@pytest.mark.parametrize(
    ("place", "tables"),
    [
        ("sinks.one.signing_secret_files", {"sinks": {"one": {**WEBHOOK, "signing_secret_files": [UNREADABLE]}}}),
        ("sinks.one.bearer_token_file", {"sinks": {"one": {**WEBHOOK, "bearer_token_file": UNREADABLE}}}),
        ("http.token_file", {"http": {"token_file": UNREADABLE}}),
        ("accounts[0].password_file", {"accounts": [{"username": "a", "password_file": UNREADABLE}]}),
        ("accounts_file", {"accounts_file": UNREADABLE}),
        ("sinks.one.path", {"sinks": {"one": {"type": "file", "path": "a\0b"}}}),
        ("sinks.one.path", {"sinks": {"one": {"type": "file", "path": "x" * 300}}}),
        ("journal.path", {"journal": {"path": "x" * 300}}),
        ("journal.path", {"journal": {"path": "/"}}),
    ],
)
def test_a_file_that_cannot_be_is_a_problem_with_its_place(tmp_path: Path, place: str, tables: dict[str, Any]):
    account = [{"username": "a", "password": "x"}]
    with pytest.raises(ConfigError) as caught:
        assembly.load_checked(
            write_config(tmp_path, **{"server": {"url": "http://h"}, "accounts": account, **tables}), environ={}
        )
    assert [problem.path.partition("[")[0] for problem in caught.value.problems] == [place.partition("[")[0]]


def test_the_kinds_of_sinks_are_told_with_where_they_come_from():
    kinds = {kind.name: kind for kind in assembly.sink_kinds()}
    assert {"file", "stdout", "webhook"} <= set(kinds)
    assert kinds["file"].origin.startswith("listener.sinks.file, disposition-listener ")
    assert ("path", "required") in kinds["file"].settings


@pytest.mark.parametrize(
    ("kind", "wanted", "horizon_s"),
    [
        ("webhook", None, 75 * 3600),
        ("webhook", "never", None),
        ("webhook", 0.5, 1800),
        ("file", None, None),
        ("stdout", None, None),
        ("file", 2.0, 7200),
    ],
)
def test_a_horizon_is_the_kinds_own_unless_the_table_says_otherwise(
    kind: str, wanted: float | str | None, horizon_s: float | None
):
    lane = LaneSettings.model_validate({"type": kind, "retry_horizon_h": wanted})
    assert policy_of("crm", lane).retry_horizon_s == horizon_s


@pytest.mark.parametrize(
    ("kind", "configured", "after_s"),
    [("webhook", None, 3600), ("webhook", "never", None), ("file", None, None), ("file", 0.5, 1800)],
)
def test_a_single_event_is_tried_for_as_long_as_its_kind_says_or_its_table(kind, configured, after_s):
    lane = LaneSettings.model_validate({"type": kind, "retry_event_after_h": configured})
    assert policy_of("crm", lane).retry_event_after_s == after_s


def test_a_lanes_policy_is_what_its_table_says():
    table = {"type": "file", "batch": 7, "events": "changes", "gaps": False, "park_after_refusals": 3}
    policy = policy_of("audit", LaneSettings.model_validate(table))
    assert (policy.batch, policy.changes_only, policy.gaps, policy.park_after_refusals) == (7, True, False, 3)


def test_a_sinks_filters_and_fields_are_its_lanes_policy():
    lane = LaneSettings(
        type="stdout",
        accounts=["a"],
        media=["sms"],
        keys=["k"],
        changes=["set"],
        dispositions=["x*"],
        fields=["chatId"],
    )
    policy = policy_of("crm", lane)
    assert (policy.accounts, policy.keys, policy.changes) == (frozenset("a"), frozenset("k"), frozenset({"set"}))
    assert policy.media == {"sms"}
    assert (policy.dispositions, policy.fields) == (("x*",), frozenset({"chatId"}))
