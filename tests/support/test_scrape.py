"""An exposition is read as the code's own table names it."""

from aiohttp import web

from listener.runtime.metrics import Metrics
from support.bareserver import BareServer
from support.eventually import eventually
from support.scrape import Scrape, imbalance, watching


def test_counters_are_summed_over_the_labels_that_are_not_given():
    metrics = Metrics()
    metrics.count("events_total", 2, "disposition", "set", "notification")
    metrics.count("events_total", 3, "gap", "", "notification")
    metrics.count("notifications_received_total", 7)
    seen = Scrape(metrics.exposition().decode())
    assert seen.total("events_total") == 5
    assert seen.total("events_total", kind="gap") == 3
    assert seen.total("events_total", kind="none") == 0
    assert seen.total("notifications_received_total") == 7


def test_a_counter_is_told_apart_by_one_label():
    metrics = Metrics()
    metrics.count("notifications_refused_total", 1, "too_deep")
    metrics.count("notifications_refused_total", 2, "no_chat_id")
    metrics.count("notifications_refused_total", 0, "wrong_type")
    seen = Scrape(metrics.exposition().decode())
    assert seen.by("reason", "notifications_refused_total") == {"too_deep": 1, "no_chat_id": 2}


def counted(received: int, *, forwarded: int, filtered: int, refused: int) -> Metrics:
    metrics = Metrics()
    metrics.count("notifications_received_total", received)
    metrics.count("notifications_forwarded_total", forwarded)
    metrics.count("notifications_filtered_total", filtered, "no_key")
    metrics.count("notifications_refused_total", refused, "too_deep")
    return metrics


def test_what_came_in_is_the_sum_of_what_became_of_it():
    balanced = counted(6, forwarded=3, filtered=2, refused=1)
    assert imbalance(Scrape(balanced.exposition().decode())) == ""
    balanced.count("notifications_received_total")
    assert "received 7 is not the sum of" in imbalance(Scrape(balanced.exposition().decode()))


async def test_an_imbalance_is_seen_while_it_lasts():
    metrics = counted(6, forwarded=3, filtered=2, refused=1)

    async def expose(_: web.Request) -> web.Response:
        return web.Response(body=metrics.exposition())

    async with BareServer(expose) as server, watching(server.port, every_s=0.01) as found:
        await eventually(lambda: len(server.requests) > 1)
        assert found == []
        metrics.count("notifications_received_total")
        await eventually(lambda: found)
        metrics.count("notifications_forwarded_total")
        seen = len(server.requests)
        await eventually(lambda: len(server.requests) > seen + 1)
    assert "received 7 is not the sum of" in found[0]
