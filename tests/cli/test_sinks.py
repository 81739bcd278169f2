"""`sinks kinds` lists what can be named, `sinks test` tries a configured sink out."""

import pytest

from support.config import audit_events, write_config
from support.receiver import Answer, Receiver


def test_the_built_in_kinds_are_listed_with_their_origin(invoke):
    result = invoke("sinks", "kinds")
    rows = {line.split()[0]: line for line in result.stdout.splitlines() if not line.startswith(" ")}
    assert {"file", "stdout", "webhook"} <= rows.keys()
    assert "listener.sinks.webhook, disposition-listener" in rows["webhook"]


def test_each_kind_tells_its_settings_and_what_they_are_without_being_set(invoke):
    lines = invoke("sinks", "kinds").stdout.splitlines()
    webhook = lines[next(n for n, line in enumerate(lines) if line.startswith("webhook")) + 1 :]
    rows = dict(line.split(maxsplit=1) for line in webhook if line.startswith(" "))
    assert (rows["url"], rows["method"], rows["timeout_s"]) == ("required", '"POST"', "10.0")
    assert (rows["bearer_token"], rows["headers"], rows["verify"]) == ("unset", "{}", "true")


@pytest.fixture
def with_webhook(tmp_path, receiver: Receiver):
    """A configuration with the sinks `audit` (a file) and `crm` (a webhook)."""
    server = {"url": "http://127.0.0.1:9"}
    return write_config(tmp_path, server=server, webhook=receiver.url, accounts=[{"username": "a", "password": "b"}])


@pytest.mark.parametrize("name", ["audit", "crm"])
async def test_a_test_event_reaches_a_sink_that_no_daemon_holds(with_webhook, start_command, receiver, tmp_path, name):
    command = await start_command("sinks", "test", name, "--config", with_webhook)
    assert await command.wait() == 0
    assert command.lines[-1].startswith(f"{name} accepted test-")
    assert command.lines[-1].endswith("(sent by this command, since no daemon is running)")
    received = receiver.accepted() if name == "crm" else audit_events(tmp_path)
    assert [event["type"] for event in received] == ["disposition-listener.chat.test"]
    assert received[0]["data"]["sink"] == name
    assert not (tmp_path / "journal.db").exists()


async def test_where_replicas_share_the_journal_the_command_sends_it_itself(tmp_path, start_command, receiver):
    """Whoever has the sink may be on another host."""
    config = write_config(
        tmp_path,
        server={"url": "http://127.0.0.1:9"},
        webhook=receiver.url,
        accounts=[{"username": "a", "password": "b"}],
        journal={"path": None, "url": "postgresql://127.0.0.1:9/x"},
        sinks={"audit": {"on": "node-a"}},
    )
    command = await start_command("sinks", "test", "crm", "--config", config)
    assert await command.wait() == 0
    assert command.lines[-1].endswith("(sent by this command)")
    assert [event["type"] for event in receiver.accepted()] == ["disposition-listener.chat.test"]


async def test_what_the_sink_says_instead_of_taking_it_is_told(with_webhook, start_command, receiver):
    receiver.answers = Answer(status=422, body=b"no such field")
    command = await start_command("sinks", "test", "crm", "--config", with_webhook)
    assert await command.wait() == 1
    assert "answered 422 (it said: no such field); the daemon would make it a dead letter" in command.lines[-1]
    shown = [line for line in command.lines if line[:1] in ("<", ">")]
    assert shown[0] == f"> POST {receiver.url}"
    assert [line for line in shown if line.startswith("> {")] == [f"> {receiver.posts[0].body.decode()}"]
    assert [shown[shown.index("< 422")], shown[-1]] == ["< 422", "< no such field"]


async def test_a_sink_that_is_not_configured_is_told_with_those_that_are(with_webhook, start_command):
    command = await start_command("sinks", "test", "crn", "--config", with_webhook)
    assert await command.wait() == 78
    assert command.lines == ["error: sinks.crn: there is no such sink (configured: audit, crm)"]


async def test_beside_a_daemon_the_event_goes_through_the_sink_that_it_has_open(
    with_webhook, start_daemon, start_command, receiver, tmp_path
):
    """A file is locked by its writer, and a lane may be parked."""
    receiver.answers = Answer(status=401)
    daemon = await start_daemon(with_webhook)
    await daemon.logged("started")
    refused = await start_command("sinks", "test", "crm", "--config", with_webhook)
    assert await refused.wait() == 1
    assert "answered 401; the daemon would park the sink" in refused.lines[-1]
    taken = await start_command("sinks", "test", "audit", "--config", with_webhook)
    assert await taken.wait() == 0, taken.output()
    assert taken.lines[-1].endswith("(sent by the daemon)")
    assert [event["type"] for event in audit_events(tmp_path)] == ["disposition-listener.chat.test"]
    assert (await daemon.logged("sink_tested", sink="crm"))["verdict"] == "park"
