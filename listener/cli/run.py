"""`run`: the daemon."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from listener.cli import running
from listener.cli.options import ConfigOption
from listener.config.settings import Settings
from listener.daemon import preflight
from listener.daemon.assembly import load_checked
from listener.daemon.daemon import Daemon
from listener.daemon.watching import ConfigurationWatch
from listener.errors import ConfigError, Problem, StartError
from listener.runtime import logs
from listener.runtime.notify import Notifier
from listener.runtime.owned import regular

log = structlog.get_logger(__name__)


def run(config: ConfigOption = None) -> None:
    """Run the daemon.

    It listens until SIGTERM or SIGINT, then delivers what it has; a second signal exits at once. SIGHUP reopens renamed
    audit files, applies changes of accounts and sinks, and resumes parked sinks.

    Examples:
        disposition-listener run --config listener.toml

    Exit status:
        0: Stopped on request, with Ctrl-C too.
        1: The host does not let it start, or it ended with an error: standard
           error says why.
        130: A second Ctrl-C ended it at once.
        128 + n: A second signal n ended it at once, such as 143 for SIGTERM.
    """
    settings, watch = _watched(config)
    parts = settings.parts()
    if problems := preflight.host_problems(parts):
        raise StartError(problems=problems)
    logs.configure(level=settings.log.level, style=settings.log.format)
    if problems := [*preflight.unsafe(parts), *preflight.warnings(parts)]:
        log.warning("configuration_unsafe", problems=[str(problem) for problem in problems])
    running.run(_listen(settings, partial(_load_again, None if config is None else config.absolute()), watch))


def _watched(config: Path | None) -> tuple[Settings, ConfigurationWatch | None]:
    """The configuration with a watch of its files; none of one that can be read only once, such as a pipe."""
    settings = load_checked(config)
    if config is not None and not config.is_file():
        return settings, None
    watch = ConfigurationWatch(None if config is None else config.absolute())
    if settings.is_watched:
        watch.take()
        settings = load_checked(config)  # with what has changed meanwhile
    return settings, watch


def _load_again(config: Path | None) -> Settings:
    """The configuration, for a reload: that waits for no writer of a pipe, as the first reading does."""
    try:
        found = config and regular(config)
    except OSError as exc:
        raise ConfigError([Problem(str(config), f"cannot be read: {exc.strerror}")]) from exc
    return load_checked(found)


async def _listen(settings: Settings, load: Callable[[], Settings], watch: ConfigurationWatch | None) -> None:
    daemon = Daemon(settings, load=load, watch=watch, notifier=Notifier())
    running.on_request(daemon.stop)
    running.on_hangup(daemon.reload)
    await daemon.run()
