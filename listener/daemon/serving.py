"""The daemon's HTTP server: its routes, and the token that guards them."""

from collections.abc import Callable
from pathlib import Path

from msgspec.structs import asdict

from listener.config.http import HttpSettings, is_loopback, token_in
from listener.daemon.commands import CommandHandler
from listener.daemon.control import ResendEvents, ResumeLane
from listener.daemon.health import Health
from listener.model.event import DeadLetterFilter, rfc3339
from listener.model.filter import ControlFilter
from listener.ports import Journal
from listener.runtime.metrics import Metrics
from listener.web.actions import Actions, Resent, Resumed, SinkTested
from listener.web.attempts import AttemptList, AttemptPage
from listener.web.auth import Guard
from listener.web.console import Console
from listener.web.feed import Feed
from listener.web.lookups import Lookups
from listener.web.openapi import Description
from listener.web.server import HttpServer
from listener.web.status import Probes, StatusPage
from listener.web.summary import SummaryPages


class TokenFile:
    """The token in a file, reread when the file has changed: a rotated token is valid at once.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def __call__(self) -> str:
        """The token. Raises OSError or ValueError if the file has none: then every request is refused."""
        now = self._path.stat()
        seen = (now.st_ino, now.st_size, now.st_mtime_ns)
        if seen != self._seen:
            self._token, self._seen = token_in(self._path), seen
        return self._token


class _ControlActions:
    """The commands of the control socket, in the form that `listener.web` needs."""

    def __init__(self, commands: CommandHandler) -> None:
        self._commands = commands

    async def resume(self, sink: str) -> Resumed:
        """See `web.actions.Actions`."""
        done = await self._commands.resume(ResumeLane(name=sink))
        return Resumed(sink=sink, resumed=sink in {*done.resumed, *done.ordered}, trying=sink in done.trying)

    async def test(self, sink: str) -> SinkTested:
        """See `web.actions.Actions`."""
        return SinkTested(sink=sink, **asdict(await self._commands.test(sink)))

    async def resend(self, sink: str, from_ms: int, to_ms: int, dry_run: bool) -> Resent:  # noqa: FBT001 - as called
        """See `web.actions.Actions`."""
        command = ResendEvents(name=sink, from_ms=from_ms, to_ms=to_ms, dry_run=dry_run)
        done = await self._commands.resend(command)
        return Resent(
            sink=sink,
            events=done.events,
            first_sequence=done.after + 1 if done.events else None,
            last_sequence=done.through if done.events else None,
            waiting=done.waiting,
            oldest_at=None if done.oldest_ms is None else rfc3339(done.oldest_ms),
            replica=done.ordered,
        )

    async def cancel_resend(self, sink: str) -> int:
        """See `web.actions.Actions`."""
        return (await self._commands.cancel_resend(sink)).left

    async def attempts(self, sink: str, limit: int) -> AttemptList:
        """See `web.status.AttemptPage`."""
        attempts, here, replica = await self._commands.attempts(sink, limit)
        return AttemptList(sink=sink, attempts=tuple(attempts), here=here, replica=replica)

    async def replay(self, which: DeadLetterFilter) -> int:
        """See `web.actions.Actions`."""
        return (await self._commands.replay(ControlFilter.of(which))).letters


def http_server(
    settings: HttpSettings, *, base: Path, metrics: Metrics, health: Health, commands: CommandHandler, journal: Journal
) -> HttpServer:
    """The server that `[http]` describes, not yet listening; relative paths start from `base`."""
    host, port = settings.address
    token = _token(settings, base)
    actions = _ControlActions(commands)
    parts = (
        Probes(problems=health.problems, metrics=metrics),
        StatusPage(status=health.status),
        SummaryPages(summary=health.summary, accounts=health.accounts),
        AttemptPage(attempts=actions.attempts),
        Actions(
            resume=actions.resume,
            test=actions.test,
            resend=actions.resend,
            cancel_resend=actions.cancel_resend,
            replay=actions.replay,
        ),
        Console(),
        Feed(
            read=journal.read,
            wait_beyond=journal.wait_beyond,
            search=journal.search,
            last_sequence=lambda: journal.last_sequence,
            metrics=metrics,
        ),
        Lookups(search=journal.search, letters=journal.dead_letter_page, groups=journal.dead_letter_groups),
        Description(secured=token is not None),
    )
    return HttpServer(
        host=host,
        port=port,
        routes=[route for part in parts for route in part.routes()],
        guard=Guard(token=token, only_here=host if is_loopback(host) else None),
        metrics=metrics,
    )


def _token(settings: HttpSettings, base: Path) -> Callable[[], str] | None:
    if settings.token is not None:
        return settings.token.get_secret_value
    return None if settings.token_file is None else TokenFile(base / settings.token_file)
