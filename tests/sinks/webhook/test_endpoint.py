"""TLS, certificates that are replaced, and networks that are not to be reached."""

import asyncio
import json
import socket

import pytest

from listener.errors import Park, Reject, Retry, StartError
from listener.sinks.webhook.endpoint import Failure, quoted
from support.authority import Authority
from support.delivering import outcome_of
from support.events import disposition_event
from support.httpproxy import HttpProxy
from support.receiver import Answer, Receiver
from support.wire import saying, talking


def test_what_is_gone_is_disabled_and_says_so():
    outcome = Failure(text="h:1 answered 410", status=410).outcome()
    assert isinstance(outcome, Park)
    assert outcome.disabled
    assert outcome.reason == "h:1 answered 410: the endpoint is gone, so the sink is disabled"
    assert not Failure(text="h:1 answered 401", status=401).outcome().disabled


@pytest.mark.parametrize(
    ("failure", "kind", "affects_all"),
    [
        (Failure(text=""), Retry, True),
        (Failure(text="", status=500), Retry, False),
        (Failure(text="", status=500, after_s=1.0), Retry, True),
        (Failure(text="", status=405), Retry, True),
        (Failure(text="", status=302), Park, True),
        (Failure(text="", status=415), Park, True),
        (Failure(text="", status=400), Reject, False),
        (Failure(text="", status=400, verdict=Park), Park, True),
    ],
)
def test_a_failure_means_something_for_its_event_and_for_the_others(failure, kind, affects_all):
    assert (failure.kind, failure.affects_all) == (kind, affects_all)


def test_an_answer_is_quoted_on_one_short_line_without_secrets():
    text = f"a\r\n\x1b[1mb Basic abcdef abc {'x' * 2000}"
    assert quoted(text, ["Basic abcdef", "abc", ""]).startswith("a [1mb *** *** xxx")
    assert len(quoted(text, [])) == 1000


@pytest.mark.parametrize("trusting", [{"ca_file": "ca.pem"}, {"verify": False}])
async def test_https_works_with_an_own_authority_and_unverified(tls_receiver, make_sink, trusting):
    await (await make_sink(tls_receiver.url, **trusting)).deliver([disposition_event(1)])
    assert len(tls_receiver.posts) == 1


async def test_an_untrusted_certificate_is_a_retry_that_says_so(tls_receiver, make_sink):
    with pytest.raises(Retry, match=r"certificate of https://127.* is not trusted .*: set sinks\.crm\.ca_file"):
        await (await make_sink(tls_receiver.url)).deliver([disposition_event(1)])
    assert tls_receiver.posts == []


async def test_a_file_without_certificates_is_told_at_the_start(make_sink, tmp_path):
    (tmp_path / "broken.pem").write_text("nothing")
    with pytest.raises(StartError, match=r"^sinks\.crm\.ca_file: no usable certificate"):
        await make_sink("https://127.0.0.1:1", ca_file="broken.pem")


@pytest.fixture
async def strict(owned, authority) -> Receiver:
    """Takes only clients with a certificate."""
    return await owned.enter_async_context(Receiver(tls=authority.server(wants_client=True)))


async def test_a_receiver_that_wants_a_certificate_is_shown_ours(strict, make_sink, authority):
    authority.issue("client")
    await (await make_sink(strict.url, ca_file="ca.pem", client_cert_file="client.pem")).deliver([disposition_event(1)])
    outcome = await outcome_of(await make_sink(strict.url, ca_file="ca.pem"), [disposition_event(2)])
    assert isinstance(outcome, Retry)
    assert len(strict.posts) == 1


async def test_a_certificate_that_is_replaced_is_taken_up_without_a_restart(strict, make_sink, authority, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    wrong, right = Authority(other).issue("client"), authority.issue("right")
    used = tmp_path / "client.pem"
    used.write_bytes(wrong.read_bytes())
    sink = await make_sink(strict.url, ca_file="ca.pem", client_cert_file="client.pem")
    assert isinstance(await outcome_of(sink, [disposition_event(1)]), Retry)
    used.write_text("half written")
    assert isinstance(await outcome_of(sink, [disposition_event(1)]), Retry)
    right.replace(used)
    await sink.deliver([disposition_event(1)])
    assert len(strict.posts) == 1


@pytest.mark.parametrize("host", ["localhost", "localtest"])
async def test_a_name_that_leads_into_a_private_network_is_not_asked(receiver, make_sink, monkeypatch, host):
    """The address counts that is connected to, whatever the name server said before or says a moment later."""
    resolve = asyncio.get_running_loop().getaddrinfo

    async def lie(_host, port, **more):
        return await resolve("127.0.0.1", port, **more)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lie)
    url = receiver.url.replace("127.0.0.1", host)
    sink = await make_sink(url, deny_private_networks=True)
    for work in (sink.deliver([disposition_event(1)]), sink.check()):
        with pytest.raises(Park, match=rf"^http://{host}:\d+ is not called: it leads into a private network"):
            await work
    assert (receiver.posts, receiver.asked) == ([], [])
    await (await make_sink(url)).deliver([disposition_event(1)])
    assert len(receiver.posts) == 1, "it is refused only when told to"


async def test_a_redirect_is_a_failure_and_is_not_followed(receiver, make_sink):
    receiver.answers = Answer(status=308, headers={"Location": f"{receiver.url}/elsewhere"})
    with pytest.raises(Park, match=r"answered 308, see sinks\.crm\.url$"):
        await (await make_sink(f"{receiver.url}/hook")).deliver([disposition_event(1)])
    assert [post.path for post in receiver.posts] == ["/hook"]


async def test_an_answer_with_a_header_of_9_kb_is_one(receiver, make_sink):
    receiver.answers = Answer(headers={"Content-Security-Policy": "x" * 9000})
    await (await make_sink(receiver.url)).deliver([disposition_event(1)])
    assert len(receiver.posts) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (saying(for_ever=b"HTTP/1.1 102 \r\n\r\n" * 1000), "a head of more than 256 KiB, interim answers included"),
        (saying(b"HTTP/1.1 200 OK\r\nX-Long: ", for_ever=b"secret" * 1000), "the header X-Long, longer than 64 KiB"),
    ],
)
async def test_a_head_that_does_not_end_is_a_retry_that_says_what_it_was(make_sink, answer, said):
    async with talking(answer) as url:
        outcome = await outcome_of(await make_sink(url), [disposition_event(1)])
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.detail) == (f"the answer of {url} has {said}", "")


async def test_a_webhook_goes_through_its_proxy_whose_password_may_be_replaced(tls_receiver, make_sink, tmp_path):
    secret = tmp_path / "proxy.secret"
    secret.write_text("old")
    async with HttpProxy(login="listener:new") as proxy:
        login = {"proxy_user": "listener", "proxy_password_file": "proxy.secret"}
        sink = await make_sink(tls_receiver.url, ca_file="ca.pem", proxy=proxy.url, **login)
        with pytest.raises(Retry, match=r"407 \(check sinks\.crm\.proxy_user and sinks\.crm\.proxy_password_file\)"):
            await sink.deliver([disposition_event(1)])
        secret.write_text("")
        with pytest.raises(Retry, match="407"):
            await sink.deliver([disposition_event(1)])
        secret.write_text("new\n")
        await sink.deliver([disposition_event(1)])
    assert {asked.method for asked in proxy.asked} == {"CONNECT"}
    assert len(tls_receiver.posts) == 1


async def test_a_retry_after_is_handed_on_in_full_for_the_lane_to_bound(receiver, make_sink):
    sink = await make_sink(receiver.url)
    for named, expected in ((str(40 * 86_400), 40 * 86_400.0), ("1795904246", 1_795_904_246.0), ("9" * 400, 1e10)):
        receiver.answers = Answer(status=429, headers={"Retry-After": named})
        outcome = await outcome_of(sink, [disposition_event(1)])
        assert outcome.after_s == expected


def test_the_loopback_of_these_tests_is_private():
    assert socket.gethostbyname("localhost") == "127.0.0.1"


PROBLEM = {"Content-Type": "application/problem+json"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(status=403, body=b'{"title": "Not yours", "detail": "of Max"}', headers=PROBLEM), " (Not yours)"),
        (Answer(status=403, body=b'{"title": "Max is not known"}'), ""),
        (Answer(status=401, body=b'{"error": "invalid_token", "error_description": "of Max"}'), " (invalid_token)"),
        (Answer(status=401, body=b'{"error": "no such customer: Max"}'), ""),
        (Answer(status=401, body=b'{"error": 7}'), ""),
        (Answer(status=401, body=b"Max is not known"), ""),
        (Answer(status=403, body=b'{"x": ' + b"[" * 9000), ""),
        (Answer(status=403, body=b'{"title": "\xff"}'), ""),
        (Answer(status=404, body=b"nothing here"), ", see sinks.crm.url"),
        (Answer(status=308, headers={"Location": "/elsewhere?token=Max"}), ", see sinks.crm.url"),
    ],
)
async def test_a_reason_has_the_words_that_cannot_quote_an_event(receiver, make_sink, answer, words):
    receiver.answers = answer
    outcome = await outcome_of(await make_sink(receiver.url), [disposition_event(1)])
    assert isinstance(outcome, Park)
    assert outcome.reason == f"{receiver.url} answered {answer.status}{words}"


async def test_words_are_short_and_hold_no_secret(receiver, make_sink):
    body = json.dumps({"title": "the key PaSsWoRd is wrong " + "x" * 1000}).encode()
    receiver.answers = Answer(status=403, body=body, headers=PROBLEM)
    outcome = await outcome_of(await make_sink(receiver.url, bearer_token="PaSsWoRd"), [disposition_event(1)])
    assert "(the key *** is wrong xxx" in outcome.reason
    assert len(outcome.reason) < 150
