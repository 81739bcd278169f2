"""What probes and Prometheus are told."""

import aiohttp

from listener.model.condition import ReadinessProblem
from support.pages import Pages

CRM = ReadinessProblem(brief="sink crm is parked", full="sink crm is parked: 401 for alice")
ACCOUNT = ReadinessProblem(brief="accounts[0] has no subscription", full="account alice has no subscription: denied")


async def test_a_living_process_says_ok(http: aiohttp.ClientSession, pages: Pages):
    pages.problems = [CRM]
    response = await http.get("/livez")
    assert (response.status, await response.text()) == (200, "ok\n")


async def test_readiness_follows_the_hindrances_one_a_line(http: aiohttp.ClientSession, pages: Pages):
    pages.problems = [CRM, ACCOUNT]
    response = await http.get("/readyz")
    assert (response.status, await response.text()) == (503, f"{CRM.full}\n{ACCOUNT.full}\n")
    pages.problems = []
    response = await http.get("/readyz")
    assert (response.status, await response.text()) == (200, "ready\n")


async def test_who_shows_no_token_is_told_which_part_it_is_and_nobodys_name(
    secured: aiohttp.ClientSession, pages: Pages
):
    pages.problems = [CRM, ACCOUNT]
    shown = await (await secured.get("/readyz")).text()
    hidden = await (await secured.get("/readyz", headers={"Authorization": "Bearer no"})).text()
    assert "alice" in shown
    assert hidden == "sink crm is parked\naccounts[0] has no subscription\n"


async def test_metrics_are_in_the_format_that_prometheus_scrapes(http: aiohttp.ClientSession, pages: Pages):
    pages.metrics.count("sink_delivered_total", 3, "audit")
    response = await http.get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'disposition_listener_sink_delivered_total{sink="audit"} 3.0' in await response.text()
