"""One installation of the listener: a folder, the daemon that runs in it now, and what came out of it."""

import signal
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from support.config import audit_events, write_config
from support.eventually import PATIENCE_S, eventually
from support.notifications import with_data
from support.process import Daemon
from support.scrape import Scrape, scrape

Json = dict[str, Any]
CODE = "code-"
NUMBERED = with_data(DispositionCode=CODE + "{n}")
CLOCK = timedelta(milliseconds=2)  # times on record are cut to milliseconds


class Listening:
    """Keeps its journal, audit file and configuration over any number of starts; the last daemon ends with it.

    Args:
        folder: where everything is.
        server: the `[server]` table.
        webhook: URL of a second sink, `crm`.
        env: more of the daemons' environment.
        program: what runs in place of `python -m listener`.
        more: further tables, as for `write_config`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        server: Mapping[str, Any],
        webhook: str | None = None,
        env: Mapping[str, str] | None = None,
        program: Sequence[str | Path] | None = None,
        **more: Any,
    ) -> None:
        self.folder = folder
        self._options = {"env": env, **({} if program is None else {"program": program})}
        self.daemon: Daemon
        self._starts = 0
        self._config = write_config(folder, server=server, webhook=webhook, http={"listen": "127.0.0.1:0"}, **more)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Whatever still runs is killed: how it stops in order is what some tests are about."""
        if self._starts:
            await self.daemon.kill()

    async def start(self, *, subscribed: bool = True) -> Daemon:
        """A new process; returns once it is subscribed, or at once."""
        self.daemon = Daemon(self._config, **self._options)
        await self.daemon.start()
        self._starts += 1
        if subscribed:
            await self.daemon.logged("subscribed")
        return self.daemon

    async def stop(self) -> int:
        """Stop it as systemd does; returns the exit status."""
        self.daemon.send_signal(signal.SIGTERM)
        return await self.daemon.wait()

    async def metrics(self) -> Scrape:
        """What the running daemon counts."""
        return await scrape((await self.daemon.logged("http_listening"))["port"])

    @property
    def events(self) -> list[Json]:
        """Everything in the audit file, in its order."""
        return audit_events(self.folder)

    @property
    def dispositions(self) -> list[Json]:
        return [event for event in self.events if event["type"].endswith(".disposition")]

    @property
    def gaps(self) -> list[Json]:
        """The data of the gap events."""
        return [event["data"] for event in self.events if event["type"].endswith(".gap")]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the `NUMBERED` notifications in the audit file, in its order, doubles and all."""
        return numbers(self.dispositions)

    async def heard(self, wanted: Iterable[int], *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until all of these numbers are in the audit file."""
        expected = set(wanted)
        await eventually(
            lambda: expected <= set(self.numbers),
            timeout_s=timeout_s,
            interval_s=0.03,
            what=lambda: f"numbers {sorted(expected - set(self.numbers))[:20]}\n{self.daemon.output()}",
        )

    def lies_in_a_gap(self, at: datetime) -> bool:
        """Whether a stretch on record holds this moment."""
        return any(
            datetime.fromisoformat(gap["from"]) - CLOCK <= at <= datetime.fromisoformat(gap["to"]) + CLOCK
            for gap in self.gaps
        )


def numbers(events: Sequence[Json]) -> list[int]:
    """The numbers of `NUMBERED` notifications, in the order of their events."""
    return [int(event["data"]["disposition"].removeprefix(CODE)) for event in events]


def without_repeats(events: Sequence[Json]) -> list[Json]:
    """Each event once, where it stood first. Fails where one id stands for different events."""
    first: dict[str, Json] = {}
    for event in events:
        assert first.setdefault(event["id"], event) == event, "one id, two events"
    return list(first.values())
