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

    It listens until SIGTERM or SIGINT, and then delivers what it has; a second signal leaves at once.
    SIGHUP leaves audit files that were renamed, takes over what has changed of accounts and sinks, and lets sinks that
    are parked go on.
    """
    settings = load_checked(config)
    logs.configure(level=settings.log.level, style=settings.log.format)
    running.run(_listen(settings, partial(load_checked, config)))


async def _listen(settings: Settings, load: Callable[[], Settings]) -> None:
    daemon = Daemon(settings, load=load, notifier=Notifier())
    running.on_request(daemon.stop)
    running.on_hangup(daemon.reload)
    await daemon.run()
