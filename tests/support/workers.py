"""Which tests go to one worker and in which order: file by file, what shares a server together, long ones first."""

import re
from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling

_TOGETHER = (
    re.compile(r"tests/(web/console)/"),  # one browser, one page that is open, four daemons
    re.compile(r"tests/(?:sinks/|contracts/test_sink_)(\w+?)[/.]"),  # a kind's destination
)
_FIRST = (
    "tests/acceptance/test_systemd.py",
    "tests/web/console/",
    "tests/sinks/kafka/",
    "tests/contracts/test_sink_kafka.py",
    "tests/sinks/amqp/",
    "tests/contracts/test_sink_amqp.py",
    "tests/acceptance/",
    "tests/interop/",
    "tests/delivery/",
    "tests/simulation/",
    "tests/contracts/",
    "tests/sinks/",
)


class ByFile(LoadScopeScheduling):
    """Hands out files, or what belongs together, one after the other to whichever worker is free."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((found[1] for pattern in _TOGETHER if (found := pattern.match(file))), file)


def longest_first(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no worker is left alone with it; files stay whole and in their order."""
    items.sort(key=lambda item: _rank(item.nodeid, _FIRST))


def _rank(nodeid: str, places: Sequence[str]) -> int:
    return next((rank for rank, place in enumerate(places) if nodeid.startswith(place)), len(places))
