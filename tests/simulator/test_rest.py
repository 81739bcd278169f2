"""The REST API over real HTTP."""

import json

import pytest

from support.browser import CHAT, CHAT_PATH, SET_DISPOSITION


@pytest.fixture
async def sim(simulate):
    return await simulate()


@pytest.fixture
async def browser(sim, browse):
    browser = await browse(sim)
    await browser.login()
    return browser


async def get(browser, path):
    response, body = await browser.get(path)
    return response.status, json.loads(body)


async def post(browser, path, body=None, *, data=None):
    response, text = await browser.post(path, body, data=data)
    return response.status, json.loads(text)


async def test_the_version_is_open_to_all(sim, browse):
    status, body = await get(await browse(sim), "/api/v2/diagnostics/version")
    assert (status, body) == (200, {"statusCode": 0, "version": "8.5.202.96"})


async def test_me_is_the_user_and_subresources_are_asked_for(browser):
    _, plain = await get(browser, "/api/v2/me")
    assert {"id", "userName", "firstName", "lastName", "roles", "uri", "path"} <= plain["user"].keys()
    assert "chats" not in plain["user"]
    _, chats = await get(browser, "/api/v2/me?subresources=chats")
    assert [chat["id"] for chat in chats["user"]["chats"]] == [CHAT]
    assert "settings" not in chats["user"]
    _, everything = await get(browser, "/api/v2/me?subresources=*")
    assert everything["user"]["chats"] == chats["user"]["chats"]
    key = everything["user"]["settings"]["interaction-workspace"]["interaction.disposition.key-name"]
    assert key == "DispositionCode"


async def test_set_disposition_answers_as_documented_and_the_chat_shows_it(browser):
    _, before = await get(browser, CHAT_PATH)
    assert before["chat"]["userData"] == {}
    response, body = await browser.post(CHAT_PATH, SET_DISPOSITION)
    assert (response.status, body) == (200, b'{"statusCode":0}')
    _, after = await get(browser, CHAT_PATH)
    assert after["chat"]["userData"] == {"DispositionCode": "IssueResolved"}
    assert after["chat"]["uri"] == f"{browser.sim.url}/api/v2/chats/{CHAT}"
    assert await get(browser, "/api/v2/me/chats") == (200, {"statusCode": 0, "chats": [after["chat"]]})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"operationName": "SetDisposition"}, 400, 1),
        ({"operationName": "SetDisposition", "disposition": 1}, 400, 2),
        ({"operationName": "Accept"}, 400, 2),
        ({}, 400, 1),
        ([], 400, 2),
    ],
)
async def test_a_refusal_has_its_status_code_and_a_message(browser, body, status, code):
    answered, refusal = await post(browser, CHAT_PATH, body)
    assert (answered, refusal["statusCode"]) == (status, code)
    assert refusal["statusMessage"]
    assert refusal.keys() == {"statusCode", "statusMessage"}


async def test_a_body_that_is_no_json_is_invalid(browser):
    assert (await post(browser, CHAT_PATH, data=b"{'operationName': 'SetDisposition'}"))[1]["statusCode"] == 2


async def test_the_chat_of_another_agent_is_not_found(sim, browse):
    browser = await browse(sim, "agent2")
    await browser.login()
    assert (await post(browser, CHAT_PATH, SET_DISPOSITION))[0] == 404
    assert (await get(browser, CHAT_PATH))[1]["statusCode"] == 6


async def test_an_unknown_resource_is_not_found(browser):
    assert (await get(browser, "/api/v2/me/dreams"))[1]["statusCode"] == 6
    assert (await post(browser, "/api/v2/diagnostics/version", {}))[0] == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"operationName": "StartContactCenterSession", "channels": ["chat"]}, 0),
        ({"operationName": "StartContactCenterSession", "channels": ["chat", "fax"]}, 7),
        ({"operationName": "StartContactCenterSession", "channels": ["fax"]}, 2),
        ({"operationName": "StartContactCenterSession"}, 1),
        ({"operationName": "Sing"}, 2),
        ({}, 1),
    ],
)
async def test_the_contact_center_session_is_started_as_far_as_possible(browser, body, code):
    status, answer = await post(browser, "/api/v2/me", body)
    assert answer["statusCode"] == code
    assert status == (200 if code in {0, 7} else 400)
    if code == 7:
        assert (answer["succeeded"], answer["failed"]) == (["chat"], ["fax"])


async def test_ending_the_contact_center_session_ends_the_login(browser):
    assert (await post(browser, "/api/v2/me", {"operationName": "EndContactCenterSession"}))[0] == 200
    assert (await get(browser, "/api/v2/me"))[0] == 403


@pytest.mark.parametrize(
    ("medium", "resource", "container", "operation"),
    [("email", "emails", "email", "SetDisposition"), ("voice", "calls", "call", "SetCallDisposition")],
)
async def test_emails_and_calls_are_listed_shown_and_operated(browser, medium, resource, container, operation):
    browser.sim.control("add-chat", chat="X1", agents=["agent1"], medium=medium)
    path = f"/api/v2/me/{resource}/X1"
    answer = await post(browser, path, {"operationName": operation, "disposition": "Callback"})
    assert answer == (200, {"statusCode": 0})
    _, shown = await get(browser, path)
    assert shown[container]["userData"] == {"DispositionCode": "Callback"}
    assert await get(browser, f"/api/v2/me/{resource}") == (200, {"statusCode": 0, resource: [shown[container]]})
    _, me = await get(browser, f"/api/v2/me?subresources={resource}")
    assert me["user"][resource] == [shown[container]]
    assert (await post(browser, "/api/v2/me/chats/X1", {"operationName": "Accept"}))[0] == 404
    assert (await post(browser, f"/api/v2/me/{resource}", {"operationName": "Accept"}))[0] == 404


async def test_a_subresource_that_the_site_does_not_know_is_refused(simulate, browse):
    browser = await browse(await simulate(subresources=("chat",)))
    await browser.login()
    status, body = await get(browser, "/api/v2/me?subresources=emails")
    assert (status, body["statusCode"]) == (400, 2)
