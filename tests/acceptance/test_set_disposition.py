"""From SetDisposition on the command line to the audit file, with the simulator and the daemon as processes."""

import pytest

from support.config import audit_events, write_config
from support.eventually import eventually

CHAT = "0000Na9B26EF003M"
ANSWER = '{"statusCode": 0}'


@pytest.fixture
async def url(start_command):
    simulator = await start_command("simulate", "--port", "0")
    return (await simulator.line(lambda line: line.startswith("listening "))).split()[1]


@pytest.fixture
def configure(tmp_path, url):
    def write(*names):
        accounts = [{"username": name, "password": "secret"} for name in names]
        return write_config(tmp_path, server={"url": url}, accounts=accounts)

    return write


@pytest.fixture
def set_disposition(start_command):
    async def call(config, code, *options, chat=CHAT):
        command = await start_command("set-disposition", chat, code, *options, "--config", config)
        assert (await command.wait(), command.lines) == (0, [ANSWER])

    return call


async def test_the_operation_of_the_document_comes_out_of_the_file_with_the_value_before(
    configure, start_daemon, set_disposition, tmp_path
):
    config = configure("agent1")
    daemon = await start_daemon(config)
    await daemon.logged("subscribed", account="agent1")

    await set_disposition(config, "IssueResolved", "--key", "DispositionCode")
    (first,) = await eventually(lambda: audit_events(tmp_path))
    await set_disposition(config, "Callback", "--key", "DispositionCode")
    _, second = await eventually(lambda: len(events := audit_events(tmp_path)) == 2 and events)

    assert (first["type"], first["subject"], first["sequence"]) == ("disposition-listener.chat.disposition", CHAT, "1")
    data = first["data"]
    assert (data["change"], data["disposition"], data["previous"]) == ("set", "IssueResolved", None)
    assert (data["chatId"], data["chatState"], data["referenceId"], data["account"]) == (CHAT, "Chatting", 34, "agent1")
    assert data["participants"] == [{"nickname": "TestName", "type": "Agent", "participantId": "009052C73228006D"}]
    changed = second["data"]
    assert (changed["change"], changed["disposition"], changed["previous"]) == ("changed", "Callback", "IssueResolved")
    assert await daemon.stop() == 0


async def test_a_second_agent_in_the_chat_does_not_make_a_second_change(
    configure, url, http, start_daemon, set_disposition, tmp_path
):
    await http.post(f"{url}/control/add-chat", json={"chat": "conference", "agents": ["agent1", "agent2"]})
    config = configure("agent1", "agent2")
    daemon = await start_daemon(config)
    for account in ("agent1", "agent2"):
        await daemon.logged("subscribed", account=account)

    for code in ("IssueResolved", "Callback"):
        await set_disposition(config, code, chat="conference")
    events = await eventually(lambda: len(events := audit_events(tmp_path)) == 4 and events)

    told = [(event["data"]["change"], event["data"]["disposition"]) for event in events]
    assert told == [
        ("set", "IssueResolved"),
        ("unchanged", "IssueResolved"),
        ("changed", "Callback"),
        ("unchanged", "Callback"),
    ]
    assert {event["data"]["account"] for event in events} == {"agent1", "agent2"}
    assert events[2]["data"]["previous"] == "IssueResolved"


async def test_the_journal_can_be_read_while_the_daemon_writes_it(
    configure, start_command, start_daemon, set_disposition
):
    config = configure("agent1")
    daemon = await start_daemon(config)
    await daemon.logged("subscribed")
    await set_disposition(config, "IssueResolved")
    for view, expected in (("verify", "ok: 1 events, last sequence 1"), ("show", "IssueResolved")):

        async def shown(view=view, expected=expected):
            command = await start_command("journal", view, "--config", config)
            return await command.wait() == 0 and any(expected in line for line in command.lines)

        await eventually(shown)
    assert daemon.exit_status is None
