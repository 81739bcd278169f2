"""`run`: the configuration, the log, the daemon. Signals and bad starts are in tests/acceptance."""

import json
import os
import threading

import pytest

from listener.cli.run import _load_again, _watched
from listener.daemon.assembly import load_checked
from listener.errors import ConfigError
from listener.simulator import Simulator
from support.config import write_config


async def test_the_environment_alone_is_enough_and_the_log_says_what_runs(start_command, tmp_path):
    async with Simulator() as sim:
        variables = {
            "LISTENER_SERVER__URL": sim.url,
            "LISTENER_ACCOUNTS__0__USERNAME": "agent1",
            "LISTENER_ACCOUNTS__0__PASSWORD": "secret",
            "LISTENER_SINKS__AUDIT__TYPE": "file",
            "LISTENER_SINKS__AUDIT__PATH": "a.jsonl",
        }
        daemon = await start_command("run", env=variables)
        started = json.loads(await daemon.line(lambda line: '"event": "started"' in line))
        await daemon.line(lambda line: '"event": "subscribed"' in line)
        assert await daemon.stop() == 0
    assert (started["sinks"], started["journal"]) == (["audit"], str(tmp_path / "journal.db"))
    assert not any("secret" in line for line in daemon.lines)


async def test_level_and_format_of_the_log_are_settings(start_command, tmp_path):
    async with Simulator() as sim:
        config = write_config(
            tmp_path,
            server={"url": sim.url},
            accounts=[{"username": "agent1", "password": "wrong"}],
            log={"level": "warning", "format": "console"},
        )
        daemon = await start_command("run", "--config", config)
        line = await daemon.line(lambda line: "login_refused" in line)
        assert await daemon.stop() == 0
    assert not line.startswith("{")
    assert not any("started" in line for line in daemon.lines)


async def test_standard_output_belongs_to_the_stdout_sink(start_shell, tmp_path):
    async with Simulator() as sim:
        config = write_config(
            tmp_path,
            server={"url": sim.url},
            accounts=[{"username": "agent1", "password": "secret"}],
            sinks={"audit": None, "out": {"type": "stdout"}},
        )
        shell = await start_shell(f"exec $PYTHON -m listener run --config {config} 2> log")
        while not sim.subscribed("agent1"):
            await sim.next_subscription()
        sim.set_disposition("agent1", "0000Na9B26EF003M", "Callback")
        event = json.loads(await shell.line(lambda line: "Callback" in line))
        assert await shell.stop() == 0
    assert event["data"]["disposition"] == "Callback"
    assert len(shell.lines) == 1


def test_a_configuration_that_comes_through_a_pipe_is_read_once_and_not_watched(tmp_path):
    account = {"username": "agent1", "password": "secret"}
    config = write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, accounts=[account], watch=True)
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=[config.read_text()])
    writer.start()
    settings, watch = _watched(pipe)
    writer.join()
    assert (settings.is_watched, watch) == (True, None)
    watch = _watched(config)[1]
    assert watch is not None
    assert _load_again(config) == load_checked(config)
    for wrong in (pipe, tmp_path / "gone.toml"):
        with pytest.raises(ConfigError, match=f"{wrong}: cannot be read: (it is not a regular file|No such file)"):
            _load_again(wrong)  # a reload that waited for a writer would keep the process from ending
    config.unlink()
    pipe.rename(config)
    watch.take()
