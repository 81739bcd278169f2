"""`set-disposition`: one operation, one answer, one line where it fails."""

import pytest

from listener.simulator import Simulator, SimulatorOptions
from support.config import write_config

CHAT = "0000Na9B26EF003M"


@pytest.fixture
async def sim():
    async with Simulator(SimulatorOptions(csrf=True)) as running:
        yield running


@pytest.fixture
def config(tmp_path, sim):
    accounts = [{"username": name, "password": "secret"} for name in ("agent1", "agent2")]
    return write_config(tmp_path, server={"url": sim.url}, accounts=accounts)


async def outcome(command):
    return await command.wait(), command.lines


async def test_the_answer_is_printed_as_the_server_gave_it(start_command, sim, config):
    command = await start_command("set-disposition", CHAT, "IssueResolved", "--key", "Outcome", "--config", config)
    assert await outcome(command) == (0, ['{"statusCode": 0}'])
    assert (sim.ledger[-1].key, sim.ledger[-1].value) == ("Outcome", "IssueResolved")


async def test_without_a_key_the_servers_own_is_used(start_command, sim, config):
    command = await start_command("set-disposition", CHAT, "Callback", "--config", config)
    assert await outcome(command) == (0, ['{"statusCode": 0}'])
    assert sim.ledger[-1].key == "DispositionCode"


async def test_a_call_has_an_operation_of_its_own(start_command, sim, config):
    sim.add_chat(CHAT, medium="voice")
    options = ("--media", "voice", "--key", "DISP_KEY", "--config", config)
    command = await start_command("set-disposition", CHAT, "Sold", *options)
    assert await outcome(command) == (0, ['{"statusCode": 0}'])
    entry = sim.ledger[-1]
    assert (entry.chat_id, entry.key, entry.value) == (f"voice:{CHAT}", "DISP_KEY", "Sold")


async def test_it_acts_as_the_named_account(start_command, sim, config):
    sim.add_chat("chat-2", ["agent2"])
    first = await start_command("set-disposition", "chat-2", "Callback", "--config", config)
    second = await start_command("set-disposition", "chat-2", "Callback", "--config", config, "--account", "agent2")
    status, lines = await outcome(first)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith("error: POST /api/v2/me/chats/chat-2: HTTP 404, statusCode 6")
    assert await outcome(second) == (0, ['{"statusCode": 0}'])


async def test_an_account_that_is_not_configured_is_named(start_command, config):
    command = await start_command("set-disposition", CHAT, "Callback", "--config", config, "--account", "agent9")
    assert await outcome(command) == (
        78,
        ["error: --account: there is no account 'agent9' (configured: agent1, agent2)"],
    )


async def test_a_wrong_password_and_a_dead_server_are_one_line_each(start_command, sim, tmp_path):
    accounts = [{"username": "agent1", "password": "wr0ng"}]
    command = await start_command(
        "set-disposition", CHAT, "X", "--config", write_config(tmp_path, server={"url": sim.url}, accounts=accounts)
    )
    status, lines = await outcome(command)
    assert (status, len(lines)) == (1, 1)
    assert "login of 'agent1' refused" in lines[0]
    await sim.stop()
    command = await start_command("set-disposition", CHAT, "X", "--config", tmp_path / "listener.toml")
    status, lines = await outcome(command)
    assert (status, len(lines)) == (1, 1)
    assert sim.url in lines[0]


async def test_a_server_without_rest_api_is_refused(start_command, tmp_path):
    config = write_config(tmp_path, server={"url": "http://127.0.0.1:9", "login": "none"})
    command = await start_command("set-disposition", CHAT, "X", "--config", config)
    status, lines = await outcome(command)
    assert (status, len(lines)) == (78, 1)
    assert lines[0].startswith("error: server.login: ")
