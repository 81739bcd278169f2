"""Child processes are read, waited for and ended."""

import signal
import sys
from pathlib import Path

import pytest

from support.process import Process, command_environment

TALKER = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("one", flush=True); print("two", file=sys.stderr, flush=True); print("one more", flush=True)
time.sleep(60)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def python(program: str) -> Process:
    return Process([sys.executable, "-c", program])


async def test_lines_of_both_streams_are_found_by_count():
    async with python(TALKER) as talker:
        assert await talker.line(lambda line: line.startswith("one"), count=2) == "one more"
        assert await talker.line(lambda line: line == "two") == "two"


async def test_stop_gives_the_exit_status_of_the_process_itself():
    async with python(TALKER) as talker:
        await talker.line(lambda line: line == "one more")
        assert await talker.stop() == 7


async def test_what_does_not_hear_sigterm_is_killed():
    async with python(DEAF) as deaf:
        await deaf.line(lambda line: line == "deaf")
        assert await deaf.stop(timeout_s=0.1) == -signal.SIGKILL


async def test_waiting_for_a_line_fails_at_once_when_the_process_is_gone():
    async with python("print('bye')") as process:
        with pytest.raises(AssertionError, match="ended with 0 before the line"):
            await process.line(lambda line: line == "never", timeout_s=30)


async def test_waiting_for_a_line_has_a_deadline_and_shows_the_output():
    async with python(TALKER) as talker:
        await talker.line(lambda line: line == "one more")
        with pytest.raises(AssertionError, match="one more"):
            await talker.line(lambda line: line == "never", timeout_s=0.05)


def test_the_environment_of_a_command_holds_nothing_of_the_callers_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LISTENER_SERVER__URL", "http://127.0.0.1:1")
    environment = command_environment(tmp_path, {"LISTENER_LOG__LEVEL": "debug"})
    assert "LISTENER_SERVER__URL" not in environment
    assert environment["LISTENER_LOG__LEVEL"] == "debug"
    assert (Path(environment["PYTHONPATH"]) / "listener" / "errors.py").is_file()
