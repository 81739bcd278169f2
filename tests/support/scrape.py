"""Reading `/metrics` of a running daemon."""

from collections.abc import Mapping
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from listener.metrics import PREFIX


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
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as response:
        response.raise_for_status()
        return Scrape(await response.text())
