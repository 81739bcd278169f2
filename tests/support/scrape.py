"""Reading `/metrics` of a running daemon, once or all the time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from listener.runtime.metrics import PREFIX


class Scrape:
    """One exposition; metrics are named without the prefix, as in the code's own table."""

    def __init__(self, text: str) -> None:
        self._samples = [
            (sample.name.removeprefix(PREFIX), sample.labels, sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> int:
        """The sum of a counter over the labels that are not given; 0 where nothing was counted."""
        return sum(self._matching(name, labels).values())

    def by(self, label: str, name: str) -> dict[str, int]:
        """A counter's values by one label, without those that are 0."""
        values: dict[str, int] = {}
        for labels, value in self._matching(name, {}).items():
            values[dict(labels)[label]] = values.get(dict(labels)[label], 0) + value
        return {word: value for word, value in values.items() if value}

    def _matching(self, name: str, wanted: Mapping[str, Any]) -> dict[tuple[tuple[str, str], ...], int]:
        return {
            tuple(labels.items()): int(value)
            for sample, labels, value in self._samples
            if sample == name and wanted.items() <= labels.items()
        }


async def scrape(port: int) -> Scrape:
    """What `/metrics` on this port of the loopback says now."""
    async with aiohttp.ClientSession() as http:
        return await _scrape(http, port)


async def _scrape(http: aiohttp.ClientSession, port: int, *, only: str = "") -> Scrape:
    """`only` leaves out the lines without it: reading all of an exposition takes milliseconds."""
    async with http.get(f"http://127.0.0.1:{port}/metrics") as response:
        response.raise_for_status()
        lines = (await response.text()).splitlines(keepends=True)
        return Scrape("".join(line for line in lines if only in line))


def imbalance(seen: Scrape) -> str:
    """What is wrong with `received = forwarded + filtered + refused`; empty when it holds."""
    received = seen.total("notifications_received_total")
    parts = {part: seen.total(f"notifications_{part}_total") for part in ("forwarded", "filtered", "refused")}
    return "" if received == sum(parts.values()) else f"received {received} is not the sum of {parts}"


@contextlib.asynccontextmanager
async def watching(port: int, *, every_s: float = 0.25) -> AsyncIterator[list[str]]:
    """Scrape again and again while the block runs; gives each imbalance that was seen so far.

    The daemon has to run until the end of the block.
    """

    async def watch() -> None:
        async with aiohttp.ClientSession() as http:
            while not over.is_set():
                wrong = imbalance(await _scrape(http, port, only="_notifications_"))
                if wrong:
                    found.append(wrong)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), every_s)

    over = asyncio.Event()
    found: list[str] = []
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(watch(), name=f"watch {port}")
        try:
            yield found
        finally:
            over.set()
