"""HTTP sessions over real HTTP: who gets in, what CSRF asks for, when a login ends."""

import json

import pytest

from listener.runtime.host import Host
from listener.simulator import Simulator, SimulatorOptions
from listener.testing import ManualClock
from support.browser import CHAT_PATH, SET_DISPOSITION, basic

DENIED = {"statusCode": 20, "statusMessage": "Access denied"}


async def test_basic_sets_a_cookie_that_is_the_login_from_then_on(simulate, browse):
    browser = await browse(await simulate())
    response, _ = await browser.get("/api/v2/me/chats", headers=basic("agent1"))
    assert "JSESSIONID" in response.cookies
    response, body = await browser.get("/api/v2/me")
    assert json.loads(body)["user"]["userName"] == "agent1"
    assert "JSESSIONID" not in response.cookies


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("agent1", "wrong"),
        basic("nobody"),
        {"Authorization": "Basic ???"},
        {"Authorization": "Basic //79"},
        {"Authorization": basic("agent1")["Authorization"].replace("Basic", "Bearer")},
    ],
)
async def test_without_a_login_the_answer_is_403_with_status_code_20(simulate, browse, headers):
    browser = await browse(await simulate())
    for path in ("/api/v2/me", "/api/v2/nowhere"):
        response, body = await browser.get(path, headers=headers)
        assert (response.status, json.loads(body)) == (403, DENIED)
    response, body = await browser.post("/api/v2/notifications", [{"channel": "/meta/handshake"}], headers=headers)
    assert (response.status, json.loads(body)) == (403, DENIED)


async def test_another_users_credentials_open_another_session(simulate, browse):
    browser = await browse(await simulate())
    await browser.login()
    _, body = await browser.get("/api/v2/me", headers=basic("agent2"))
    assert json.loads(body)["user"]["userName"] == "agent2"


async def test_the_same_credentials_keep_the_session(simulate, browse):
    sim = await simulate()
    browser = await browse(sim)
    await browser.login()
    await browser.login()
    assert sim.state()["logins"] == 1


async def test_with_csrf_every_get_tells_header_and_token_and_every_post_needs_them(simulate, browse):
    browser = await browse(await simulate(csrf=True, csrf_header="X-SITE-TOKEN"))
    await browser.login()
    response, _ = await browser.get("/api/v2/me")
    assert response.headers["X-CSRF-HEADER"] == "X-SITE-TOKEN"
    assert browser.headers == {"X-SITE-TOKEN": response.headers["X-CSRF-TOKEN"]}
    response, _ = await browser.post(CHAT_PATH, SET_DISPOSITION)
    assert response.status == 200
    assert (await browser.handshake())["successful"]


@pytest.mark.parametrize("path", [CHAT_PATH, "/api/v2/notifications"])
@pytest.mark.parametrize("headers", [{}, {"X-CSRF-TOKEN": "stale"}])
async def test_a_post_without_the_token_is_403_in_plain_text(simulate, browse, path, headers):
    browser = await browse(await simulate(csrf=True))
    await browser.login()
    browser.headers = headers
    response, body = await browser.post(path, [])
    assert (response.status, body) == (403, b"Missing or invalid Csrf token")
    assert response.content_type == "text/plain"


async def test_a_client_without_cookies_fails_on_csrf_even_with_credentials(simulate, browse):
    browser = await browse(await simulate(csrf=True))
    response, body = await browser.post(CHAT_PATH, SET_DISPOSITION, headers=basic("agent1"))
    assert (response.status, body) == (403, b"Missing or invalid Csrf token")


async def test_a_stranger_gets_a_token_but_no_entry(simulate, browse):
    browser = await browse(await simulate(csrf=True))
    response, body = await browser.get("/api/v2/me")
    assert (response.status, json.loads(body)) == (403, DENIED)
    assert "X-CSRF-TOKEN" in response.headers


async def test_without_csrf_no_get_tells_a_token(simulate, browse):
    browser = await browse(await simulate())
    await browser.login()
    assert browser.headers == {}


@pytest.mark.parametrize(("refreshes", "status"), [(True, 200), (False, 403)])
async def test_an_idle_login_ends_and_polls_count_as_activity_or_not(stack, browse, refreshes, status):
    clock = ManualClock()
    options = SimulatorOptions(http_session_s=100, poll_refreshes_login=refreshes)
    sim = await stack.enter_async_context(Simulator(options, host=Host(clock=clock)))
    browser = await browse(sim)
    await browser.listen()
    clock.advance(99.0)
    await browser.connect(timeout_ms=0)
    clock.advance(99.0)
    response, _ = await browser.get("/api/v2/me")
    assert response.status == status


async def test_a_login_that_is_used_over_rest_lives_on(stack, browse):
    clock = ManualClock()
    sim = await stack.enter_async_context(Simulator(SimulatorOptions(http_session_s=100), host=Host(clock=clock)))
    browser = await browse(sim)
    await browser.login()
    for _ in range(2):
        clock.advance(99.0)
        assert (await browser.get("/api/v2/me"))[0].status == 200
    clock.advance(100.0)
    assert (await browser.get("/api/v2/me"))[0].status == 403
