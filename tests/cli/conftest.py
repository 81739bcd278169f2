"""Commands in this process, and what they look at."""

import json
import logging
import sys

import pytest
import structlog
from typer.testing import CliRunner

from listener.cli.app import build
from listener.journal.sqlite import SqliteJournal
from listener.model.event import JournalBatch
from listener.runtime import logs
from support.config import write_config
from support.events import dead_letter, disposition_event, gap_event
from support.process import Process, command_environment


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run a command in `tmp_path` without an environment of the caller's.

    `invoke("check", "--config", path)` gives `.exit_code`, `.stdout`, `.stderr`.
    """
    monkeypatch.chdir(tmp_path)
    handlers, level = logging.root.handlers[:], logging.root.level
    logs.configure(level="error")  # as `main` does
    yield lambda *arguments: CliRunner().invoke(build(rich=False), [str(word) for word in arguments])
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def config(tmp_path):
    """A sound configuration for a server that is not there."""
    return write_config(
        tmp_path, server={"url": "http://127.0.0.1:9"}, accounts=[{"username": "agent1", "password": "pa55word"}]
    )


@pytest.fixture
async def letters(tmp_path):
    """A closed journal with three dead letters of `crm`, of 2026-11-22 at 9:00, 10:00 and 11:00, and one of `bi`."""
    journal = SqliteJournal(path=tmp_path / "journal.db")
    await journal.open()
    events = [disposition_event(number, chat=f"chat-{number}") for number in (1, 2)]
    await journal.append(JournalBatch(events=(*events, gap_event(3), disposition_event(4))))
    await journal.advance("crm", 4, [dead_letter(number, hour=8 + number) for number in (1, 2, 3)])
    await journal.advance("bi", 4, [dead_letter(1, hour=12, sink="bi")])
    await journal.advance("audit", 4)
    await journal.close()
    return tmp_path / "journal.db"


@pytest.fixture
def lines():
    """`lines(3)`: three set events and a gap, as the file sink writes them."""

    def make(count, *, first=1):
        events = [disposition_event(number, chat=f"chat-{number}") for number in range(first, first + count)]
        return b"".join(event.to_json() + b"\n" for event in [*events, gap_event(first + count)])

    return make


@pytest.fixture
def event_line():
    """One event as bytes, with members of `data` replaced."""

    def make(sequence=1, **data):
        event = json.loads(disposition_event(sequence).to_json())
        event["data"] |= data
        return json.dumps(event).encode() + b"\n"

    return make


@pytest.fixture
def start_shell(owned, tmp_path):
    """Run a line of bash in `tmp_path`, with $PYTHON for this interpreter.

    `await start_shell("$PYTHON -m listener … | head -1", NAME="value")`
    """

    async def start(line, **variables):
        env = command_environment(tmp_path, {"PYTHON": sys.executable, **variables})
        return await owned.enter_async_context(Process(["bash", "-c", line], env=env, cwd=tmp_path))

    return start


@pytest.fixture
def shared_config(tmp_path):
    """A configuration whose journal is a database that is not there."""
    return write_config(
        tmp_path,
        server={"url": "http://127.0.0.1:9"},
        accounts=[{"username": "agent1", "password": "pa55word"}],
        journal={"path": None, "url": "postgresql://127.0.0.1:9/dispositions"},
        sinks={"audit": {"on": "node-a"}},
    )
