"""`run`: the daemon."""

from collections.abc import Callable
from functools import partial

from listener.cli import running
from listener.cli.options import ConfigOption
from listener.config.settings import Settings
from listener.daemon.assembly import load_checked
from listener.daemon.daemon import Daemon
from listener.runtime import logs
from listener.runtime.notify import Notifier


def run(config: ConfigOption = None) -> None:
    """Run the daemon.

    It listens until SIGTERM or SIGINT, then delivers what it has; a second signal exits at once. SIGHUP reopens renamed
    audit files, applies changes of accounts and sinks, and resumes parked sinks.
    """
    settings = load_checked(config)
    logs.configure(level=settings.log.level, style=settings.log.format)
    running.run(_listen(settings, partial(load_checked, config)))


async def _listen(settings: Settings, load: Callable[[], Settings]) -> None:
    daemon = Daemon(settings, load=load, notifier=Notifier())
    running.on_request(daemon.stop)
    running.on_hangup(daemon.reload)
    await daemon.run()
