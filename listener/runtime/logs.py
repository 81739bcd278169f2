"""Logging: one line per decision on standard error, readable on a terminal and JSON elsewhere; nothing here raises."""

import json
import logging
import sys
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

from listener.runtime.redaction import Repeats, redact

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_FIRST = ("timestamp", "level", "logger", "event")
Fields = MutableMapping[str, Any]


def configure(*, level: str = "info", style: str = "auto", stream: TextIO | None = None) -> None:
    """Set up structlog, and the standard library's logging behind it. May be called again.

    What libraries log comes out as the event `library_log`, from warning level on.

    Args:
        level: the least of ours that is written: debug, info, warning or error.
        style: `json`, `console`, or `auto`: readable where `stream` is a terminal.
        stream: where it goes; standard error by default.
    """
    out = stream if stream is not None else sys.stderr
    terminal = out.isatty()
    readable = style == "console" or (style == "auto" and terminal)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _add_logger,
            Repeats(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,  # before the next one, which looks at texts
            redact,
            _Safe(_console(colors=terminal) if readable else _to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *names: _Lines(name=names[0] if names else "", stream=out),
        cache_logger_on_first_use=False,  # a second `configure` reaches loggers that were used before
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)
    logging.captureWarnings(capture=True)


class _Lines:
    """Writes lines. A stream that is closed, full or gone loses the line and disturbs nobody."""

    def __init__(self, *, name: str, stream: TextIO) -> None:
        self.name = name
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write one line."""
        with suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg


class _Safe:
    """A renderer that cannot fail: a line that cannot be rendered says so."""

    def __init__(self, render: Callable[[Any, str, Fields], str]) -> None:
        self._render = render

    def __call__(self, logger: Any, name: str, fields: Fields) -> str:
        try:
            return self._render(logger, name, dict(fields))
        except Exception as exc:  # noqa: BLE001 - a value whose repr() fails must not stop the daemon
            known = {key: str(fields.get(key, "")) for key in _FIRST}
            return json.dumps({**known, "unrenderable": type(exc).__name__})


def _add_logger(logger: Any, _name: str, fields: Fields) -> Fields:
    fields.setdefault("logger", logger.name)
    return fields


def _to_json(_logger: Any, _name: str, fields: Fields) -> str:
    """One JSON object in ASCII, the common keys first."""
    ordered = {key: fields.pop(key) for key in _FIRST if key in fields}
    return json.dumps({**ordered, **fields}, default=repr)


def _console(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=colors,
        repr_native_str=True,  # quotes control characters: a server's text must not drive the terminal
        exception_formatter=structlog.dev.plain_traceback,  # the rich one shows local variables, secrets among them
    )


class _Forward(logging.Handler):
    """Takes the records of libraries to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record; one that its library got wrong goes out without its arguments."""
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - the library's fault, and no reason to stop
            message = str(record.msg)
        structlog.get_logger(record.name).log(level, "library_log", message=message, exc_info=record.exc_info or None)
