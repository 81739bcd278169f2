"""`simulate`: what it prints can be used at once."""

import json
import signal
import socket
from base64 import b64encode
from shutil import which

import aiohttp
import pytest

FIRST = "0000Na9B26EF003M"


async def ready(simulator):
    await simulator.line(lambda line: line.startswith("Ctrl-C"))
    return simulator.lines[0].split()[1]


async def test_it_tells_where_it_is_who_works_there_and_ends_on_ctrl_c(start_command):
    simulator = await start_command("simulate", "--port", "0", "--agents", "2")
    url = await ready(simulator)
    assert "accounts   agent1, agent2 (password 'secret')" in simulator.lines
    login = {"Authorization": "Basic " + b64encode(b"agent1:secret").decode()}
    async with aiohttp.ClientSession(headers=login) as http:
        answer = await (await http.get(f"{url}/api/v2/me?subresources=chats")).json()
    assert [(chat["id"], chat["state"]) for chat in answer["user"]["chats"]] == [(FIRST, "Chatting")]
    simulator.send_signal(signal.SIGINT)
    assert await simulator.wait() == 0


@pytest.mark.parametrize("options", [(), ("--csrf",)], ids=["plain", "csrf"])
async def test_the_example_works_when_it_is_pasted(start_command, start_shell, options):
    if which("curl") is None:
        pytest.skip("curl is not installed")
    simulator = await start_command("simulate", "--port", "0", *options)
    await ready(simulator)
    example = "\n".join(line for line in simulator.lines if line.startswith("  curl"))
    shell = await start_shell(example.replace("curl ", "curl -s "))
    assert await shell.wait() == 0
    assert json.loads(shell.lines[-1]) == {"statusCode": 0}


async def test_a_port_in_use_is_one_line_that_names_the_option(start_command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        simulator = await start_command("simulate", "--port", str(port))
        assert await simulator.wait() == 1
    assert simulator.lines == [f"error: --port: cannot listen on 127.0.0.1:{port}: Address already in use"]


def test_ports_that_cannot_be_are_wrong_usage(invoke):
    assert invoke("simulate", "--port", "70000").exit_code == 2


async def test_a_working_day_is_played_once_somebody_listens(start_command, tmp_path):
    simulator = await start_command("simulate", "--port", "0", "--events", "3", "--pace", "0", "--ack")
    url = await ready(simulator)
    (tmp_path / "l.toml").write_text(
        f'[server]\nurl = "{url}"\n[[accounts]]\nusername = "agent1"\npassword = "secret"\n'
        '[[accounts]]\nusername = "agent2"\npassword = "secret"\n[[accounts]]\nusername = "agent3"\n'
        'password = "secret"\n[sinks.out]\ntype = "stdout"\n'
    )
    daemon = await start_command("run", "--config", tmp_path / "l.toml")
    await daemon.line(lambda line: line.startswith('{"specversion"'))
    assert await daemon.stop() == 0


def test_the_default_port_is_8080(invoke):
    assert "8080" in invoke("simulate", "--help").stdout
