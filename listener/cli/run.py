"""`run`: the daemon."""

from listener import logs
from listener.assembly import load_checked
from listener.cli import running
from listener.cli.options import ConfigOption
from listener.daemon import Daemon
from listener.settings import Settings


def run(config: ConfigOption = None) -> None:
    """Run the daemon.

    It listens until SIGTERM or SIGINT, and then delivers what it has; a second signal leaves at once.
    SIGHUP lets sinks that are parked go on.
    """
    settings = load_checked(config)
    logs.configure(level=settings.log.level, style=settings.log.format)
    running.run(_listen(settings))


async def _listen(settings: Settings) -> None:
    daemon = Daemon(settings)
    running.on_request(daemon.stop)
    running.on_hangup(daemon.resume_lanes)
    await daemon.run()
