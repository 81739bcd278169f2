"""Log lines: their form, their origin, and that nothing in them can do harm."""

import io
import json
import logging
import warnings
from pathlib import Path

import pytest
import structlog

from listener.runtime import logs


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Unrenderable:
    def __repr__(self):
        raise RuntimeError("no repr")


@pytest.fixture(autouse=True)
def _untouched():
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.fixture
def stream():
    out = io.StringIO()
    logs.configure(level="info", stream=out)
    return out


def entries(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_where_nobody_watches_and_the_common_keys_come_first(stream):
    structlog.get_logger("listener.x").info("subscribed", account="agent1")
    (entry,) = entries(stream)
    assert list(entry) == ["timestamp", "level", "logger", "event", "account"]
    assert entry["timestamp"].endswith("Z")
    assert (entry["level"], entry["logger"], entry["event"]) == ("info", "listener.x", "subscribed")


def test_a_terminal_gets_readable_lines_and_json_only_on_demand():
    readable, forced = Terminal(), Terminal()
    logs.configure(stream=readable)
    structlog.get_logger("x").info("subscribed", account="agent1")
    logs.configure(stream=forced, style="json")
    structlog.get_logger("x").info("subscribed")
    assert "subscribed" in readable.getvalue()
    assert not readable.getvalue().startswith("{")
    assert entries(forced)[0]["event"] == "subscribed"


def test_a_text_from_outside_cannot_drive_the_terminal():
    terminal = Terminal()
    logs.configure(stream=terminal)
    structlog.get_logger("x").warning("trouble", error="\x1b]0;owned\x07\r\nforged")
    assert "\x07" not in terminal.getvalue()
    assert "\x1b]0" not in terminal.getvalue()
    assert len(terminal.getvalue().splitlines()) == 1


def test_every_logger_of_ours_has_a_name_so_that_a_line_tells_where_it_is_from():
    modules = list(Path(logs.__file__).parent.rglob("*.py"))
    assert [path.name for path in modules if "get_logger()" in path.read_text(encoding="utf-8")] == []
    assert any("get_logger(__name__)" in path.read_text(encoding="utf-8") for path in modules)


def test_what_is_below_the_level_is_not_written(stream):
    structlog.get_logger("x").debug("detail")
    assert stream.getvalue() == ""


def test_a_logger_that_was_used_before_follows_a_new_set_up(stream):
    log = structlog.get_logger("x")
    log.info("one")
    other = io.StringIO()
    logs.configure(level="info", stream=other)
    log.info("two")
    assert [entry["event"] for entry in entries(stream)] == ["one"]
    assert [entry["event"] for entry in entries(other)] == ["two"]


def test_libraries_are_heard_from_warning_on(stream):
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("asyncio").warning("%s took too long", "poll")
    (entry,) = entries(stream)
    assert (entry["logger"], entry["event"], entry["message"]) == ("asyncio", "library_log", "poll took too long")


def test_warnings_of_python_become_lines_of_the_log(stream):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
    assert "old ways" in entries(stream)[0]["message"]


def test_a_record_that_its_library_got_wrong_goes_out_without_its_arguments(stream):
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "%d of %d", ("one",), None)
    (ours,) = [handler for handler in logging.root.handlers if type(handler).__module__ == logs.__name__]
    ours.handle(record)
    assert entries(stream)[0]["message"] == "%d of %d"


def test_a_traceback_is_logged_without_local_variables(stream):
    def fail(password):
        raise ValueError("no")

    try:
        fail("pa55word")
    except ValueError:
        structlog.get_logger("x").error("died", exc_info=True)
    text = stream.getvalue()
    assert "ValueError: no" in entries(stream)[0]["exception"]
    assert "pa55word" not in text.replace('fail("pa55word")', "").replace('fail(\\"pa55word\\")', "")


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_value_that_cannot_be_rendered_does_not_raise_and_says_so(style):
    out = io.StringIO()
    logs.configure(stream=out, style=style)
    structlog.get_logger("x").info("seen", value=Unrenderable())
    assert entries(out)[0]["event"] == "seen"
    assert entries(out)[0]["unrenderable"] == "RuntimeError"


def test_a_stream_that_is_gone_disturbs_nobody(stream):
    stream.close()
    structlog.get_logger("x").error("lost")
    logging.getLogger("x").error("lost as well")


def test_lone_surrogates_are_escaped(tmp_path):
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        logs.configure(stream=file)
        structlog.get_logger("x").info("seen", value="\ud800")
    assert json.loads((tmp_path / "log").read_text("utf-8"))["value"] == "\ud800"
