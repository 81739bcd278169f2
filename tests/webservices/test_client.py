"""The operations, against a real HTTP server: what is asked, what is made of the answer."""

import asyncio
import base64
import gc
import ssl
import time
from email.utils import formatdate

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from listener.errors import (
    LoginRefused,
    NotFound,
    OperationForbidden,
    ParameterInvalid,
    ParameterMissing,
    ServerFault,
    Unreachable,
    WebServicesError,
)
from listener.model.media import MEDIA_TYPES
from listener.webservices.answers import SMALL_BYTES, Reply
from listener.webservices.client import MAX_BODY_BYTES, MOST_CHATS, User
from listener.webservices.csrf import problem_of
from listener.webservices.media import MEDIA, Target
from support.eventually import eventually
from support.site import PASSWORD, USER, answering, answering_bytes, serving


def cookies(client):
    return {cookie.key: cookie.value for cookie in client._session._http.cookie_jar}


async def test_login_is_basic_once_and_the_cookie_from_then_on(client, site):
    await client.login()
    assert await client.me() == User(id="u1", user_name="agent1", first_name="A", roles=("ROLE_AGENT",))
    (_, path, first, _), (_, _, second, _) = site.requests()
    assert path == "/api/v2/me"
    assert base64.b64decode(first["Authorization"].removeprefix("Basic ")).decode() == f"agent1:{PASSWORD}"
    assert "Authorization" not in second
    assert second["Cookie"] == "JSESSIONID=session-1"


async def test_a_fresh_login_leaves_the_dead_session_and_keeps_the_cometd_cookie(client, site):
    client._session._http.cookie_jar.update_cookies({"JSESSIONID": "dead", "BAYEUX_BROWSER": "b1"})
    await client.login()
    assert site.seen[0][2]["Cookie"] == "BAYEUX_BROWSER=b1"
    assert cookies(client) == {"JSESSIONID": "session-1", "BAYEUX_BROWSER": "b1"}


async def test_the_password_is_read_at_each_login(connect, url, site, tmp_path):
    secret = tmp_path / "agent1.secret"
    secret.write_text("old")
    client = await connect(url, password=secret.read_text)
    with pytest.raises(LoginRefused):
        await client.login()
    secret.write_text(PASSWORD)
    await client.login()
    assert len(site.sessions) == 1


async def test_a_password_that_cannot_be_read_is_a_refused_login(connect, url, site, tmp_path):
    client = await connect(url, password=(tmp_path / "missing").read_text)
    with pytest.raises(LoginRefused, match="password_file cannot be read: No such file"):
        await client.login()
    assert site.seen == []


async def test_a_wrong_password_is_named_and_tried_once_per_call(connect, url, site):
    results = []
    client = await connect(url, password=lambda: "hush-hush", on_login=results.append)
    with pytest.raises(LoginRefused) as refused:
        await client.me()
    assert str(refused.value) == (
        "login of 'agent1' refused, check its username and password: "
        "GET /api/v2/me: HTTP 403, statusCode 20: Access denied"
    )
    assert (refused.value.http_status, refused.value.status_code) == (403, 20)
    assert site.logins == 1
    assert results == ["refused"]


async def test_a_call_without_a_login_logs_in(connect, url, site):
    results = []
    client = await connect(url, on_login=results.append)
    await client.keepalive()
    assert (site.logins, results) == (1, ["ok"])


async def test_an_expired_session_is_renewed_and_the_call_repeated(client, site):
    await client.login()
    site.expire()
    assert (await client.me()).id == "u1"
    assert site.logins == 2
    assert len(site.requests()) == 4


async def test_a_call_is_repeated_once_only(client, site):
    async def deny(_request):
        return web.Response(status=401, text="who are you?")

    site.answers["GET", "/api/v2/diagnostics/version"] = deny
    with pytest.raises(LoginRefused, match=r"GET /api/v2/diagnostics/version: HTTP 401.*two nodes without stickiness"):
        await client.version()
    assert [path for _, path, _, _ in site.requests()].count("/api/v2/diagnostics/version") == 2


async def test_callers_that_find_the_session_expired_share_one_login(client, site):
    await client.login()
    site.expire()
    site.gate = asyncio.Event()
    calls = asyncio.gather(*(client.me() for _ in range(30)), *(client.login() for _ in range(5)))
    await eventually(lambda: site.logins == 2 and len(site.requests("GET")) == 32)
    site.gate.set()
    await calls
    assert site.logins == 2


async def test_callers_share_a_refused_login_too(client, site):
    site.password = "another"
    site.gate = asyncio.Event()
    calls = asyncio.gather(*(client.me() for _ in range(20)), return_exceptions=True)
    await eventually(lambda: len(site.requests("GET")) == 21)
    site.gate.set()
    assert {type(error) for error in await calls} == {LoginRefused}
    assert site.logins == 1


async def test_a_cancelled_login_leaves_the_others_alone(client, site):
    site.gate = asyncio.Event()
    first = asyncio.ensure_future(client.login())
    await eventually(lambda: site.logins == 1)
    second = asyncio.ensure_future(client.login())
    await asyncio.sleep(0)
    first.cancel()
    site.gate.set()
    await second
    assert site.logins == 2
    assert len(site.sessions) == 2


async def test_a_later_login_is_a_new_one(client, site):
    await client.login()
    await client.login()
    assert site.logins == 2


async def test_without_csrf_nothing_is_added(client):
    await client.login()
    assert client.headers() == {}


async def test_the_csrf_header_of_the_login_goes_with_every_post(client, site):
    site.csrf = True
    await client.login()
    assert client.headers() == {"X-CSRF-TOKEN": "token-1"}
    await client.set_disposition("1", "Sold")
    await client.me()
    assert site.requests("POST")[0][2]["X-CSRF-TOKEN"] == "token-1"
    assert "X-CSRF-TOKEN" not in site.requests("GET")[-1][2]


async def test_a_rejected_csrf_token_is_fetched_anew_without_a_login(client, site):
    site.csrf = True
    await client.login()
    site.token = "token-2"
    assert (await client.set_disposition("1", "Sold"))["statusCode"] == 0
    assert [seen[0] for seen in site.seen] == ["GET", "POST", "GET", "POST"]
    assert (site.logins, client.headers()) == (1, {"X-CSRF-TOKEN": "token-2"})


async def test_callers_share_one_new_csrf_token(client, site):
    site.csrf = True
    await client.login()
    site.token = "token-2"
    await asyncio.gather(*(client.set_disposition(str(n), "Sold") for n in range(10)))
    assert len(site.requests("GET")) == 2


async def test_a_csrf_rejection_of_an_expired_session_ends_in_a_login(client, site):
    site.csrf = True
    await client.login()
    site.expire()
    site.token = "token-2"
    assert (await client.set_disposition("1", "Sold"))["statusCode"] == 0
    assert (site.logins, client.headers()) == (2, {"X-CSRF-TOKEN": "token-2"})


@pytest.mark.parametrize("name", ["", "bad name", "bad:name", "Content-Length", "Host", "cookie", "AUTHORIZATION"])
async def test_a_csrf_header_that_is_no_header_or_another_one_is_not_taken(client, site, name):
    async def odd(_request):
        return web.json_response(
            {"statusCode": 0, "user": USER}, headers={"X-CSRF-HEADER": name, "X-CSRF-TOKEN": "token"}
        )

    site.answers["GET", "/api/v2/me"] = odd
    with capture_logs() as lines:
        await client.me()
        await client.me()
    assert client.headers() == {}
    told = [(line["header"], line["reason"]) for line in lines if line["event"] == "csrf_header_refused"]
    assert told == ([(name, problem_of(name, "token"))] if name else [])


async def test_the_contact_center_session_is_started_after_the_login_where_asked(connect, url, site):
    site.csrf = True
    client = await connect(url, start_contact_center_session=True)
    await client.login()
    [(_, path, headers, body)] = site.requests("POST")
    assert (path, headers["X-CSRF-TOKEN"]) == ("/api/v2/me", "token-1")
    assert body == {"operationName": "StartContactCenterSession", "channels": ["chat"]}


async def test_a_login_that_is_not_honoured_is_told_also_where_a_contact_center_session_is_started(connect, url, site):
    """A supervisor's default: behind two nodes without stickiness nothing else would ever be told."""

    async def stranger(_request):
        return web.json_response({"statusCode": 20, "statusMessage": "Access denied"}, status=403)

    site.answers["POST", "/api/v2/me"] = stranger
    client = await connect(url, start_contact_center_session=True)
    with pytest.raises(LoginRefused, match=r"POST /api/v2/me: HTTP 403.*two nodes without stickiness"):
        await client.login()


async def test_a_partial_contact_center_session_is_good_enough(connect, url, site):
    site.answers["POST", "/api/v2/me"] = {"statusCode": 7, "failed": [{"channel": "chat"}], "succeeded": []}
    client = await connect(url, start_contact_center_session=True)
    await client.login()


async def test_a_refused_contact_center_session_is_a_failed_login(connect, url, site):
    results = []
    site.answers["POST", "/api/v2/me"] = {"statusCode": 2, "statusMessage": "no such channel"}
    client = await connect(url, start_contact_center_session=True, on_login=results.append)
    with pytest.raises(ParameterInvalid, match="no such channel"):
        await client.login()
    assert results == ["failed"]


@pytest.mark.parametrize(
    "answer",
    [
        {"body": b"<html>hello</html>", "content_type": "text/html"},
        {"body": b'{"statusCode":', "content_type": "application/json"},
        {"body": b"[]", "content_type": "application/json"},
        {"status": 204},
        {"status": 502, "body": b"bad gateway"},
    ],
)
async def test_an_answer_that_is_not_the_apis_is_a_server_fault(stack, connect, answer):
    client = await connect(await stack.enter_async_context(serving(answering(**answer))))
    with pytest.raises(ServerFault):
        await client.login()


async def test_the_servers_wish_to_wait_is_handed_on(stack, connect):
    busy = answering(status=503, headers={"Retry-After": "7"})
    client = await connect(await stack.enter_async_context(serving(busy)))
    with pytest.raises(ServerFault) as fault:
        await client.me()
    assert fault.value.retry_after_s == 7.0


async def test_credentials_do_not_follow_a_redirect(stack, connect, site, url):
    away = answering(status=302, headers={"Location": f"{url}/elsewhere?ticket=1"})
    client = await connect(await stack.enter_async_context(serving(away)))
    with pytest.raises(ServerFault) as fault:
        await client.login()
    assert f"a redirect to {url}/…?…, which" in str(fault.value)
    assert site.seen == []


async def test_an_endless_answer_is_cut_off(stack, connect):
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 2**20)

    client = await connect(await stack.enter_async_context(serving(endless)))
    for ask, most_bytes in ((client.chats, MAX_BODY_BYTES), (client.me, SMALL_BYTES)):
        with pytest.raises(ServerFault, match=f"larger than {most_bytes} bytes"):
            await ask()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b" " * 300_000,
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 300000\r\n\r\n" + b" " * 300_000,
    ],
    ids=["cut", "refused"],
)
async def test_nothing_of_an_answer_outlives_its_failure_until_the_garbage_collector_comes(stack, connect, answer):
    client = await connect(await stack.enter_async_context(answering_bytes(answer)))
    gc.collect()
    gc.disable()
    try:
        of_others = {id(one) for one in gc.get_objects()}
        with pytest.raises(WebServicesError):
            await client.login()
        await asyncio.sleep(0.05)
        kept = [one for one in gc.get_objects() if isinstance(one, aiohttp.ClientResponse | Reply)]
        assert [one for one in kept if id(one) not in of_others] == []
    finally:
        gc.enable()


async def test_a_list_of_chats_that_nobody_has_is_refused(client, site):
    site.answers["GET", "/api/v2/me"] = {"statusCode": 0, "chats": [{"id": "c"}] * (MOST_CHATS + 1)}
    with pytest.raises(ServerFault, match=f"lists more than {MOST_CHATS} chats"):
        await client.chats()
    site.answers["GET", "/api/v2/me"] = {"statusCode": 0, "chats": [{"id": "c"}] * MOST_CHATS}
    assert len(await client.chats()) == MOST_CHATS


NAMED = {"interaction-workspace": {"interaction.disposition.key-name": "Outcome"}}


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        ({"user": {"id": "u", "chats": [7], "settings": NAMED}}, "Outcome"),
        ({"user": {"id": "u"}, "settings": NAMED}, "Outcome"),
        ({}, None),
        ({"user": None, "settings": None}, None),
        ({"user": {"settings": {"interaction-workspace": []}}}, None),
        ({"settings": {"interaction-workspace": {"interaction.disposition.key-name": ""}}}, None),
        ({"settings": {"interaction-workspace": {"interaction.disposition.key-name": 'a"b'}}}, None),
        ({"settings": {"interaction-workspace": {"interaction.disposition.key-name": "x" * 101}}}, None),
        ({"settings": {"interaction-workspace": {"interaction.disposition.key-name": ["Outcome"]}}}, None),
    ],
)
async def test_the_disposition_key_is_what_the_settings_name_if_it_can_be_one(client, site, answer, key):
    site.answers["GET", "/api/v2/me"] = {"statusCode": 0, **answer}
    assert await client.disposition_key() == key


async def test_a_server_that_does_not_answer_is_given_up(stack, connect):
    async def silent(_request):
        await asyncio.Event().wait()

    base = await stack.enter_async_context(serving(silent))
    client = await connect(base, request_timeout_s=0.1)
    with pytest.raises(Unreachable, match=rf"GET /api/v2/me: no answer from {base} within 0.1 s"):
        await client.me()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", ServerFault),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"statusCode":0', Unreachable),
        (b"", Unreachable),
    ],
    ids=["not HTTP", "cut", "nothing"],
)
async def test_half_an_answer_and_no_http_at_all(stack, connect, data, kind):
    client = await connect(await stack.enter_async_context(answering_bytes(data)))
    with pytest.raises(kind, match="GET /api/v2/me: "):
        await client.me()


async def test_a_port_where_nobody_listens_is_unreachable(stack, connect):
    async with answering_bytes(b"") as base:
        pass
    client = await connect(base)
    with pytest.raises(Unreachable, match=rf"{base} cannot be reached: .*\(check server\.url\)"):
        await client.login()


async def test_an_unknown_certificate_is_named_with_its_setting(connect, tls_url, site):
    client = await connect(tls_url)
    with pytest.raises(Unreachable) as raised:
        await client.login()
    assert str(raised.value).startswith(f"GET /api/v2/me: the certificate of {tls_url} is not trusted (self")
    assert "server.ca_file" in str(raised.value)
    assert site.seen == []


async def test_a_certificate_that_ca_file_names_is_trusted(connect, tls_url, certificate):
    client = await connect(tls_url, tls=ssl.create_default_context(cafile=str(certificate)))
    assert (await client.me()).id == "u1"


async def test_https_to_a_server_without_tls_is_told_as_such(connect, url):
    client = await connect(url.replace("http:", "https:"))
    with pytest.raises(Unreachable, match="no TLS with https://127"):
        await client.login()


async def test_no_error_shows_the_password_or_a_cookie(stack, connect, site, url):
    async def echo(request):
        return web.Response(text=f"{request.headers.get('Authorization')} {request.headers.get('Cookie')}")

    shown = []
    for base in (await stack.enter_async_context(serving(echo)), url, url.replace("http:", "https:")):
        client = await connect(base, password=lambda: "hush-hush")
        client._session._http.cookie_jar.update_cookies({"JSESSIONID": "cookie-hush"})
        with pytest.raises(WebServicesError) as raised:
            await client.me()
        shown.append(f"{raised.value} {raised.value!r}")
    assert len(shown) == 3
    assert "hush" not in " ".join(shown)
    assert base64.b64encode(b"agent1:hush-hush").decode() not in " ".join(shown)


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


@pytest.mark.parametrize(
    ("target", "path", "body"),
    [
        (Target(media_type="email"), "emails/i%2F1", {"operationName": "SetDisposition", "dispositionKey": "K"}),
        (
            Target(media_type="facebook"),
            "facebooksessions/i%2F1",
            {"operationName": "SetDisposition", "dispositionKey": "K"},
        ),
        (Target(media_type="sms"), "smssessions/i%2F1", {"operationName": "UpdateUserData", "userData": {"K": "Sold"}}),
        (
            Target(media_type="openmedia", open_media_type="work item"),
            "openmedia/work%20item/i%2F1",
            {"operationName": "UpdateUserData", "userData": {"K": "Sold"}},
        ),
        (
            Target(media_type="voice", call_uri="http://h/c", call_uuid="U"),
            "calls/i%2F1",
            {"operationName": "SetCallDisposition", "callUri": "http://h/c", "callUuid": "U", "dispositionKey": "K"},
        ),
    ],
    ids=lambda value: value.media_type if isinstance(value, Target) else "",
)
async def test_each_medium_has_its_operation_and_path(client, site, target, path, body):
    await client.set_disposition("i/1", "Sold", "K", target)
    [*_, (_, asked, _, sent)] = site.requests("POST")
    assert asked == f"/api/v2/me/{path}"
    assert sent == body | ({} if "userData" in body else {"disposition": "Sold"})


@pytest.mark.parametrize(
    ("target", "key", "missing"),
    [
        (Target(media_type="sms"), None, "needs its key"),
        (Target(media_type="openmedia", open_media_type="workitem"), None, "needs its key"),
        (Target(media_type="openmedia"), "K", "its media type"),
    ],
)
async def test_what_a_medium_needs_and_was_not_given_is_named(client, site, target, key, missing):
    with pytest.raises(ParameterMissing, match=missing):
        await client.set_disposition("1", "Sold", key, target)
    assert site.requests("POST") == []


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


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
async def test_each_medium_is_listed_as_its_subresource(client, site, media_type):
    resource = MEDIA[media_type].resource
    site.answers["GET", "/api/v2/me"] = {"statusCode": 0, "user": {resource: [{"id": "1"}]}}
    assert [bytes(one) for one in await client.chats(media_type)] == [b'{"id": "1"}']
    assert site.seen[-1][1] == f"/api/v2/me?subresources={resource}"


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


async def test_a_server_whose_clock_is_three_hours_behind_keeps_the_login_and_is_told_once(connect, stack):
    behind_s = 3 * 3600
    now_s = 1_800_000_000.0
    logins = 0

    async def handle(request):
        nonlocal logins
        date = {"Date": formatdate(now_s - behind_s, usegmt=True)}
        if "Authorization" in request.headers:
            logins += 1
            expires = formatdate(time.time() - behind_s + 1800, usegmt=True)
            cookie = {"Set-Cookie": f"JSESSIONID=s{logins}; Path=/; Expires={expires}"}
            return web.json_response({"statusCode": 0, "user": USER}, headers=date | cookie)
        if request.cookies.get("JSESSIONID") != f"s{logins}" or not logins:
            return web.json_response({"statusCode": 20}, status=403, headers=date)
        return web.json_response({"statusCode": 0, "user": USER}, headers=date)

    client = await connect(await stack.enter_async_context(serving(handle)), time_s=lambda: now_s)
    with capture_logs() as lines:
        for _ in range(3):
            await client.me()
    assert logins == 1
    assert [line["server_ahead_s"] for line in lines if line["event"] == "clocks_differ"] == [-behind_s]


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
