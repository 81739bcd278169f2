"""The operations, against a real HTTP server: what is asked, what is made of the answer."""

import aiohttp
import pytest
from aiohttp import web

from listener.errors import NotFound, OperationForbidden, ParameterInvalid, ParameterMissing, ServerFault
from listener.webservices.client import new_session
from support.site import USER, serving


@pytest.mark.parametrize("code", [3, 5])
async def test_a_forbidden_operation_is_no_reason_to_log_in(client, site, code):
    async def forbid(_request):
        return web.json_response({"statusCode": code, "statusMessage": "not yours"}, status=403)

    await client.login()
    site.answers["POST", "/api/v2/me/chats/1"] = forbid
    with pytest.raises(OperationForbidden, match="not yours"):
        await client.set_disposition("1", "Sold")
    assert (site.logins, len(site.requests("POST"))) == (1, 1)


async def test_set_disposition_is_the_documented_request(client, site):
    site.answers["POST", "/api/v2/me/chats/0000Na9B26EF003M"] = {"statusCode": 0}
    await client.login()
    answer = await client.set_disposition("0000Na9B26EF003M", "IssueResolved", "DispositionCode")
    assert answer == {"statusCode": 0}
    [(_, path, headers, body)] = site.requests("POST")
    assert path == "/api/v2/me/chats/0000Na9B26EF003M"
    assert headers["Content-Type"] == "application/json"
    assert body == {
        "operationName": "SetDisposition",
        "dispositionKey": "DispositionCode",
        "disposition": "IssueResolved",
    }


async def test_without_a_key_the_servers_own_is_used(client, site):
    await client.set_disposition("1", "Grüße & \U0001f600")
    assert site.requests("POST")[-1][3] == {"operationName": "SetDisposition", "disposition": "Grüße & \U0001f600"}


async def test_a_chat_id_is_one_segment_of_the_path_whatever_it_holds(client, site):
    await client.login()
    await client.set_disposition("../a?b=c#d/ü %", "Sold")
    assert site.requests("POST")[0][1] == "/api/v2/me/chats/..%2Fa%3Fb%3Dc%23d%2F%C3%BC%20%25"


async def test_an_operation_that_cannot_be_written_is_not_sent(client, site):
    with pytest.raises(ParameterMissing):
        await client.set_disposition("", "Sold")
    with pytest.raises(ParameterInvalid):
        await client.set_disposition("1", "half \ud83d")
    with pytest.raises(ParameterInvalid):
        await client.set_disposition("half \ud83d", "Sold")
    assert site.seen == []


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(400, 1, ParameterMissing), (400, 2, ParameterInvalid), (500, 4, ServerFault), (404, 6, NotFound)],
)
async def test_the_servers_verdict_is_raised(client, site, status, code, kind):
    async def refuse(_request):
        return web.json_response({"statusCode": code, "statusMessage": "because"}, status=status)

    site.answers["POST", "/api/v2/me/chats/1"] = refuse
    with pytest.raises(kind, match=f"HTTP {status}, statusCode {code}: because"):
        await client.set_disposition("1", "Sold")


async def test_version_is_the_servers(client, site):
    site.answers["GET", "/api/v2/diagnostics/version"] = {"statusCode": 0, "version": "8.5.202.96"}
    assert await client.version() == "8.5.202.96"


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        ({"user": {**USER, "chats": [{"id": "1", "userData": {}}, {"id": "2"}]}}, [b'"1"', b'"2"']),
        ({"user": USER, "chats": [{"id": "1"}]}, [b'"1"']),
        ({"chats": [{"id": "1"}]}, [b'"1"']),
        ({"user": {**USER, "chats": None}}, []),
        ({"user": USER}, []),
        ({"user": None, "chats": None}, []),
        ({}, []),
    ],
)
async def test_chats_are_the_raw_chats_wherever_they_stand(client, site, answer, ids):
    site.answers["GET", "/api/v2/me"] = {"statusCode": 0, **answer}
    chats = await client.chats()
    assert len(chats) == len(ids)
    assert all(id_ in bytes(chat) for chat, id_ in zip(chats, ids, strict=True))
    assert site.seen[-1][1] == "/api/v2/me?subresources=chats"


@pytest.mark.parametrize("answer", [{"chats": {}}, {"user": {"chats": "none"}}, {"user": []}])
async def test_chats_of_a_wrong_shape_are_a_server_fault(client, site, answer):
    site.answers["GET", "/api/v2/me"] = {"statusCode": 0, **answer}
    with pytest.raises(ServerFault, match=r"GET /api/v2/me: .* expected shape"):
        await client.chats()


@pytest.mark.parametrize("answer", [{}, {"user": None}, {"user": {"id": 3}}, {"user": {"userName": "x"}}])
async def test_a_user_of_a_wrong_shape_is_a_server_fault(client, site, answer):
    site.answers["GET", "/api/v2/me"] = {"statusCode": 0, **answer}
    with pytest.raises(ServerFault):
        await client.me()


async def test_closing_a_session_leaves_the_shared_connector_open():
    async with aiohttp.TCPConnector() as connector:
        await new_session(connector).close()
        assert not connector.closed


async def test_cookies_of_one_account_are_not_those_of_another_and_go_back_as_they_came(connect, stack):
    sent = []

    async def handle(request):
        sent.append(request.headers.get("Cookie"))
        return web.json_response(
            {"statusCode": 0, "user": USER}, headers={"Set-Cookie": "LB=a/b=={c}; Path=/; HttpOnly"}
        )

    base = await stack.enter_async_context(serving(handle))
    first, second = await connect(base), await connect(base)
    await first.me()
    await first.me()
    await second.me()
    assert sent == [None, "LB=a/b=={c}", None]


async def test_a_base_url_with_a_path_is_kept(stack, connect, site):
    base = await stack.enter_async_context(serving(site.handle))
    client = await connect(f"{base}/gws")
    await client.me()
    assert {path for _, path, _, _ in site.seen} == {"/gws/api/v2/me"}
