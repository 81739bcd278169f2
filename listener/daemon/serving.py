"""The HTTP side as the daemon has it: its pages on the health and the orders, and the token that guards them."""

from collections.abc import Callable
from pathlib import Path

from listener.config.http import HttpSettings, is_loopback, token_in
from listener.daemon.control import LaneResume, Letters, LettersReplay, Resumed
from listener.daemon.health import Health
from listener.daemon.orders import Orders
from listener.model.event import LetterFilter, Selection
from listener.ports import Journal
from listener.runtime.metrics import Metrics
from listener.web.actions import Actions
from listener.web.auth import Guard
from listener.web.console import Console
from listener.web.feed import Feed
from listener.web.lookups import Lookups
from listener.web.openapi import Description
from listener.web.probes import Probes
from listener.web.server import HttpServer
from listener.web.status import StatusPage


class TokenFile:
    """The token in a file, read again when the file has changed: a rotated one holds at once.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def __call__(self) -> str:
        """The token. Raises OSError or ValueError where the file holds none: then nobody has it."""
        now = self._path.stat()
        seen = (now.st_ino, now.st_size, now.st_mtime_ns)
        if seen != self._seen:
            token = token_in(self._path)
            if token is None:
                raise ValueError(f"{self._path} holds no token")
            self._token, self._seen = token, seen
        return self._token


class _Ordered:
    """The orders of the control socket, as the web room asks for them."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def resume(self, sink: str) -> bool:
        """See `web.actions.Actions`."""
        done = await self._orders.carry_out(LaneResume(name=sink))
        return isinstance(done, Resumed) and sink in done.resumed

    async def replay(self, which: LetterFilter) -> int:
        """See `web.actions.Actions`."""
        done = await self._orders.carry_out(LettersReplay(filter=Selection.of(which)))
        return done.letters if isinstance(done, Letters) else 0


def http_server(
    settings: HttpSettings, *, base: Path, metrics: Metrics, health: Health, orders: Orders, journal: Journal
) -> HttpServer:
    """The server that `[http]` describes, not yet listening; `base` is where a relative path starts from."""
    host, port = settings.address
    token = _token(settings, base)
    ordered = _Ordered(orders)
    parts = (
        Probes(hindrances=health.hindrances, metrics=metrics),
        StatusPage(status=health.status),
        Actions(resume=ordered.resume, replay=ordered.replay),
        Console(),
        Feed(
            read=journal.read,
            wait_beyond=journal.wait_beyond,
            search=journal.search,
            last_sequence=lambda: journal.last_sequence,
            metrics=metrics,
        ),
        Lookups(search=journal.search, letters=journal.letter_page),
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
