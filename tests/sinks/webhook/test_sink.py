"""The webhook sink against a real HTTP server."""

import asyncio
import base64
import json
import time
from collections.abc import Callable

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from listener import __version__
from listener.delivery import Lane, LanePolicy
from listener.errors import Park, Refusal, Reject, Retry
from listener.journal.sqlite import SqliteJournal
from listener.model.event import JournalBatch
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics
from listener.sinks.webhook.binding import batch_id
from listener.sinks.webhook.endpoint import Answer as Response
from listener.sinks.webhook.endpoint import Failure
from listener.sinks.webhook.sink import Progress, RateLimiter, allowed_rate
from listener.testing import ManualClock
from support.delivering import outcome_of
from support.events import disposition_event, events_of, gap_event
from support.eventually import eventually
from support.receiver import Answer, Receiver

STATUSES = st.sampled_from([200, 204, 302, 400, 401, 404, 413, 422, 429, 500, 503])


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 9), STATUSES.filter(lambda status: status >= 300)), st.sets(st.integers(0, 9)))
def test_every_reject_is_told_before_a_park_and_a_park_before_a_retry(failures, delivered):
    progress = Progress(events_of(10, chats=10))
    progress.delivered |= delivered
    for index, status in failures.items():
        progress.can_continue(index, Failure(text=str(status), status=status))
    kinds = {Failure(text="", status=status).kind for status in failures.values()}
    expected = next((kind for kind in (Reject, Park, Retry) if kind in kinds), None)
    if expected is None:
        progress.raise_outcome()
        return
    with pytest.raises(expected) as caught:
        progress.raise_outcome()
    assert caught.value.delivered == delivered
    if expected is Reject:
        refused = {index: Refusal(str(status)) for index, status in failures.items() if status in (400, 413, 422)}
        assert caught.value.letters == refused


ORIGIN = "listener.example.com"
ASKING = {"validation": "options", "origin": ORIGIN}


def allowed(origin: str = ORIGIN, rate: str | None = None, status: int = 200) -> Answer:
    headers = {"WebHook-Allowed-Origin": origin} | ({"WebHook-Allowed-Rate": rate} if rate is not None else {})
    return Answer(status=status, headers=headers)


async def test_who_asks_says_who_and_how_often_and_says_so_with_every_request(receiver, make_sink):
    receiver.permission = allowed(rate="*")
    sink = await make_sink(f"{receiver.url}/hook?a=1", request_rate=120, bearer_token="t", **ASKING)
    await sink.deliver(events_of(2))
    (asked,) = receiver.asked
    assert asked.path == "/hook?a=1"
    assert asked.headers["WebHook-Request-Origin"] == ORIGIN
    assert asked.headers["WebHook-Request-Rate"] == "120"
    assert asked.headers["Authorization"] == "Bearer t"
    assert {post.headers["WebHook-Request-Origin"] for post in receiver.posts} == {ORIGIN}


@pytest.mark.parametrize(
    ("permission", "kind", "text"),
    [
        (Answer(), Park, "answered 200 and does not allow us to send: no WebHook-Allowed-Origin"),
        (Answer(status=405), Park, "answered 405 and does not allow us"),
        (Answer(status=404), Park, "answered 404"),
        (Answer(status=410), Park, "disabled"),
        (allowed("other.example.com"), Park, f"WebHook-Allowed-Origin is not {ORIGIN}"),
        (allowed(rate="many"), Park, "is not a number"),
        (allowed(rate="0"), Park, "is not a number"),
        (Answer(status=503, headers={"Retry-After": "9"}), Retry, "answered 503"),
    ],
)
async def test_without_permission_nothing_is_sent(receiver, make_sink, permission, kind, text):
    receiver.permission = permission
    sink = await make_sink(receiver.url, opened=False, **ASKING)
    for work in (sink.open(), sink.check()):
        with pytest.raises(kind, match=text):
            await work
    assert receiver.posts == []


@pytest.mark.parametrize(
    ("permission", "asked", "rate"),
    [
        (allowed("*"), None, None),
        (allowed(ORIGIN.upper(), "100"), None, 100),
        (allowed("*", "*"), 10, None),
        (allowed("*"), 10, 10),
        (allowed("*", "7", status=405), 10, 7),
    ],
)
def test_the_receiver_names_the_rate(permission, asked, rate):
    answer = Response(status=permission.status, headers=permission.headers, body=b"")
    found = allowed_rate(answer, origin=ORIGIN, rate=asked, where="h:1")
    assert not isinstance(found, Failure)
    assert found == rate


async def test_a_receiver_that_is_not_there_is_asked_again(receiver, make_sink):
    await receiver.stop()
    sink = await make_sink(receiver.url, opened=False, **ASKING)
    with pytest.raises(Retry, match="cannot be reached"):
        await sink.open()
    await receiver.start()
    receiver.permission = allowed()
    await sink.open()
    await sink.deliver([disposition_event(1)])
    assert len(receiver.posts) == 1


async def test_requests_keep_the_distance_that_the_rate_asks_for(monkeypatch):
    clock, waits = ManualClock(), []

    async def sleep(seconds):
        waits.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr("listener.sinks.webhook.sink.asyncio.sleep", sleep)
    pace = RateLimiter(clock.monotonic_s)
    await pace.turn()
    assert waits == []
    pace.set(120)
    for _ in range(3):
        await pace.turn()
    clock.advance(0.2)
    await pace.turn()
    clock.advance(60.0)
    await pace.turn()
    assert waits == pytest.approx([0.0, 0.5, 0.5, 0.3, 0.0])


async def test_a_sink_keeps_to_the_rate(receiver, make_sink, monkeypatch):
    turns = []
    receiver.permission = allowed(rate="6000")
    sink = await make_sink(receiver.url, **ASKING)
    turn = sink._rate_limiter.turn

    async def counted():
        turns.append(sink._rate_limiter._distance_s)
        await turn()

    monkeypatch.setattr(sink._rate_limiter, "turn", counted)
    await sink.deliver(events_of(5, chats=5))
    assert turns == [0.01] * 5


SECRET = "PaSsWoRd"


@pytest.fixture
async def judge(owned):
    """Start a server whose answer to an event's sequence is a status, or a coroutine function's result."""

    async def start(answer: Callable[[int], int]) -> tuple[str, list[int]]:
        seen: list[int] = []

        async def handle(request: web.Request) -> web.Response:
            seen.append(int((await request.json())["sequence"]) if request.method != "OPTIONS" else 0)
            status = answer(seen[-1])
            return web.Response(status=await status if asyncio.iscoroutine(status) else status)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        owned.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/hook?code={SECRET}", seen

    return start


async def test_a_request_is_one_structured_cloudevent(receiver: Receiver, make_sink):
    event = disposition_event(1)
    sink = await make_sink(f"{receiver.url}/hook/?sig=a%2Bb")
    await sink.deliver([event])
    (post,) = receiver.posts
    assert post.path == "/hook/?sig=a%2Bb"
    assert post.body == event.to_json()
    assert post.headers["Content-Type"] == "application/cloudevents+json; charset=utf-8"
    assert post.headers["User-Agent"] == f"disposition-listener/{__version__}"
    assert "Authorization" not in post.headers


async def test_a_body_has_the_form_and_the_type_that_the_table_asks_for(receiver: Receiver, make_sink):
    template = {"template": '{"code": "$disposition"}', "template_type": "application/json"}
    for options in ({"format": "data"}, {"format": "template", **template}):
        await (await make_sink(receiver.url, **options)).deliver([disposition_event(1)])
    data, filled = receiver.posts
    assert (data.body, data.headers["Content-Type"]) == (disposition_event(1).data, "application/json")
    assert (filled.body, filled.headers["Content-Type"]) == (b'{"code":"IssueResolved"}', "application/json")


async def test_headers_and_bearer_token_are_sent_and_never_shown(receiver, make_sink):
    sink = await make_sink(receiver.url, headers={"X-Key": SECRET}, bearer_token=f"{SECRET}2")
    await sink.deliver([disposition_event(1)])
    assert receiver.posts[0].headers["X-Key"] == SECRET
    assert receiver.posts[0].headers["Authorization"] == f"Bearer {SECRET}2"
    assert SECRET not in repr(sink._settings)


async def test_a_rotated_token_is_read_anew(receiver, make_sink, tmp_path):
    token = tmp_path / "token"
    token.write_text("one\n")
    sink = await make_sink(receiver.url, bearer_token_file="token")
    await sink.deliver([disposition_event(1)])
    token.write_text("two\n")
    await sink.deliver([disposition_event(2)])
    assert [post.headers["Authorization"] for post in receiver.posts] == ["Bearer one", "Bearer two"]
    for unusable in ("", "a\nb"):
        token.write_text(unusable)
        with pytest.raises(Retry, match=r"sinks\.crm\.bearer_token_file: "):
            await sink.deliver([disposition_event(3)])


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((200, 201, 202, 204, 299), None),
        ((301, 302, 303, 307, 308, 304), Park),
        ((401, 403, 404, 407, 415), Park),
        ((400, 409, 411, 413, 414, 418, 422, 451), Reject),
        ((405, 406, 426), Retry),
        ((408, 425, 429, 500, 501, 502, 503, 504, 507, 599), Retry),
    ],
)
async def test_the_status_tells_what_the_lane_does(receiver, make_sink, statuses, kind):
    sink = await make_sink(receiver.url)
    for status in statuses:
        receiver.answers = Answer(status=status, headers={"Location": "/"})
        outcome = await outcome_of(sink, [disposition_event(1)])
        assert (outcome and type(outcome)) is kind, status
        if outcome is not None:
            assert outcome.reason.partition(",")[0] == f"{receiver.url} answered {status}"
            assert outcome.delivered == frozenset()
    assert len(receiver.posts) == len(statuses)


@pytest.mark.parametrize("status", [401, 422, 503])
async def test_an_answer_is_quoted_in_the_detail_and_never_in_the_reason(receiver, make_sink, status):
    """Receivers echo what they refuse."""
    receiver.answers = Answer(status=status, body=b'{"rejected": "IssueResolved"}')
    outcome = await outcome_of(await make_sink(receiver.url), events_of(2))
    assert outcome.detail == '{"rejected": "IssueResolved"}'
    assert str(outcome) == outcome.reason == f"{receiver.url} answered {status}"
    if isinstance(outcome, Reject):
        assert set(outcome.letters.values()) == {Refusal(outcome.reason, outcome.detail)}


async def test_an_answer_is_quoted_on_one_short_line_without_secrets(receiver, make_sink):
    sink = await make_sink(
        f"{receiver.url}/hook?code={SECRET}", headers={"X-Key": f"{SECRET}1"}, bearer_token=f"{SECRET}2"
    )
    receiver.answers = Answer(status=422, body=f"no\r\n\x1b[1m {SECRET}1 {SECRET}2 {'x' * 5000}".encode())
    outcome = await outcome_of(sink, [disposition_event(1)])
    assert outcome.detail.startswith("no [1m *** *** xxx")
    assert SECRET not in outcome.detail
    assert len(outcome.detail) == 1000


@pytest.mark.parametrize(
    ("options", "quoted"),
    [
        ({"headers": {"Authorization": f"Basic {SECRET}"}}, SECRET),
        ({"headers": {"Authorization": f"Basic {SECRET}"}}, f"Basic {SECRET}"),
        ({"headers": {"X-Keys": f"{SECRET[:4]}  {SECRET}"}}, SECRET),
        ({"headers": {"X-One": SECRET[:4], "X-Two": SECRET}}, SECRET),
        ({"bearer_token": SECRET}, SECRET),
        ({"bearer_token": SECRET}, f"Bearer {SECRET}"),
    ],
)
async def test_of_a_secret_header_each_word_is_masked_the_longest_first(receiver, make_sink, options, quoted):
    receiver.answers = Answer(status=422, body=f"no: <{quoted}>".encode())
    outcome = await outcome_of(await make_sink(receiver.url, **options), [disposition_event(1)])
    assert outcome.detail == "no: <***>"


async def test_the_longest_named_wait_is_handed_on(receiver, make_sink):
    sink = await make_sink(receiver.url, concurrency=2)
    receiver.script(
        Answer(status=503, headers={"Retry-After": "7"}, delay_s=0.05),
        Answer(status=429, headers={"Retry-After": "3"}, delay_s=0.05),
    )
    assert (await outcome_of(sink, events_of(2, chats=2))).after_s == 7


async def test_chats_go_side_by_side_and_each_in_order(judge, make_sink):
    at_once = most = 0

    async def slowly() -> int:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.005)
        at_once -= 1
        return 200

    url, seen = await judge(lambda _: slowly())
    sink = await make_sink(url, concurrency=3)
    batch = events_of(40, chats=7)
    await sink.deliver(batch)
    assert most == 3
    assert sorted(seen) == list(range(1, 41))
    for chat in range(7):
        of_chat = [sequence for sequence in seen if sequence % 7 == chat]
        assert of_chat == sorted(of_chat)


async def test_one_chat_is_never_sent_side_by_side(receiver, make_sink):
    receiver.answers = Answer(delay_s=0.005)
    sink = await make_sink(receiver.url, concurrency=8)
    await sink.deliver(events_of(8, chats=1))
    assert receiver.most_at_once == 1
    assert [int(body["sequence"]) for body in receiver.accepted()] == list(range(1, 9))


async def test_gaps_have_an_order_of_their_own(judge, make_sink):
    url, seen = await judge(lambda sequence: 500 if sequence == 1 else 200)
    batch = [gap_event(1, account="x"), disposition_event(2, chat="x"), gap_event(3, account="x")]
    outcome = await outcome_of(await make_sink(url), batch)
    assert outcome.delivered == {1}
    assert sorted(seen) == [1, 2]


async def test_a_failure_that_may_pass_holds_its_chat_and_lets_the_others_finish(judge, make_sink):
    url, seen = await judge(lambda sequence: 500 if sequence == 3 else 200)
    outcome = await outcome_of(await make_sink(url, concurrency=2), events_of(9, chats=3))
    assert isinstance(outcome, Retry)
    assert sorted(seen) == [1, 2, 3, 4, 5, 7, 8]
    assert outcome.delivered == {0, 1, 3, 4, 6, 7}


async def test_an_event_that_is_refused_for_good_lets_its_chat_and_the_others_finish(judge, make_sink):
    url, seen = await judge(lambda sequence: {3: 422, 7: 400}.get(sequence, 200))
    outcome = await outcome_of(await make_sink(url, concurrency=2), events_of(9, chats=3))
    assert isinstance(outcome, Reject)
    assert {index: one.reason.rpartition(" ")[2] for index, one in outcome.letters.items()} == {2: "422", 6: "400"}
    assert sorted(seen) == list(range(1, 10))
    assert outcome.delivered == set(range(9)) - {2, 6}


@pytest.mark.parametrize("chats", [1, 10, 100])
async def test_a_call_in_which_twenty_are_refused_in_a_row_ends_and_each_of_them_was_sent_once(judge, make_sink, chats):
    url, seen = await judge(lambda _: 400)
    outcome = await outcome_of(await make_sink(url), events_of(100, chats=chats))
    assert isinstance(outcome, Reject)
    assert 20 <= len(seen) < 24, "what is on its way is finished"
    assert outcome.letters.keys() == outcome.in_a_row == {sequence - 1 for sequence in seen}
    assert len(set(seen)) == len(seen)


async def test_a_row_of_refusals_ends_where_an_event_is_taken_whatever_its_place_in_the_batch(judge, make_sink):
    url, _ = await judge(lambda sequence: 200 if sequence == 6 else 422)
    events = [*events_of(5), disposition_event(6, chat="of its own"), *events_of(4, first=7)]
    outcome = await outcome_of(await make_sink(url, concurrency=1), events)
    assert isinstance(outcome, Reject)
    assert (outcome.delivered, outcome.in_a_row) == ({5}, set()), "that chat was brought last"


async def test_a_batch_that_is_refused_as_a_whole_is_halved_until_twenty_are_refused_in_a_row(receiver, make_sink):
    receiver.answers = Answer(status=422)
    outcome = await outcome_of(await make_sink(receiver.url, mode="batched"), events_of(500))
    assert isinstance(outcome, Reject)
    assert outcome.letters.keys() == outcome.in_a_row == set(range(20))
    assert len(receiver.posts) < 60


async def test_an_event_that_is_refused_is_told_although_the_rest_needs_a_person(judge, make_sink):
    url, _ = await judge(lambda sequence: 422 if sequence == 1 else 401)
    sink = await make_sink(url, concurrency=1)
    outcome = await outcome_of(sink, events_of(3))
    assert (type(outcome), *outcome.letters) == (Reject, 0)
    assert isinstance(await outcome_of(sink, events_of(2, first=2)), Park)


@pytest.mark.parametrize(
    "answer",
    [Answer(status=401), Answer(status=405), Answer(status=429, headers={"Retry-After": "9"}), Answer(abort=True)],
)
async def test_trouble_that_meets_every_chat_ends_the_call(receiver, make_sink, answer):
    sink = await make_sink(receiver.url, concurrency=2)
    receiver.answers = answer
    outcome = await outcome_of(sink, events_of(50, chats=50))
    assert isinstance(outcome, Park | Retry)
    assert len(receiver.posts) <= 2


async def test_a_server_that_does_not_answer_in_time_is_a_retry(receiver, make_sink):
    receiver.answers = Answer(delay_s=5)
    sink = await make_sink(receiver.url, timeout_s=0.05)
    with pytest.raises(Retry, match=rf"^{receiver.url} did not answer within 0.05 s$"):
        await sink.deliver([disposition_event(1)])


async def test_a_server_that_is_not_there_is_a_retry_that_names_no_more_than_the_host(receiver, make_sink):
    await receiver.stop()
    sink = await make_sink(f"{receiver.url}/{SECRET}?code={SECRET}")
    with pytest.raises(Retry, match=rf"^{receiver.url}/…\?… cannot be reached: ") as caught:
        await sink.deliver([disposition_event(1)])
    assert SECRET not in caught.value.reason


@pytest.fixture
async def raw_server(owned):
    """Start a server that answers each request with the given bytes."""

    async def start(answer: bytes) -> str:
        async def serve(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        owned.callback(server.close)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/{SECRET}"

    return start


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-IssueResolved\r\n",
        b"HTTP/1.1 200 OK\r\nbad IssueResolved\r\n\r\n",
        b"HTTP/1.1 422 IssueResolved\r\nX-Value: IssueResolved\r\n",
        b"",
    ],
)
async def test_a_server_that_speaks_no_http_is_a_retry_without_the_path_and_the_answer(raw_server, make_sink, answer):
    outcome = await outcome_of(await make_sink(await raw_server(answer)), [disposition_event(1)])
    assert isinstance(outcome, Retry)
    assert SECRET not in outcome.reason + outcome.detail
    assert "IssueResolved" not in outcome.reason


async def test_a_success_counts_even_when_its_body_breaks_off(raw_server, make_sink):
    url = await raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await (await make_sink(url)).deliver([disposition_event(1)])


async def test_of_a_huge_answer_only_the_beginning_is_read(receiver, make_sink):
    receiver.answers = Answer(status=500, body=b"y" * 10_000_000)
    sink = await make_sink(receiver.url)
    outcome = await outcome_of(sink, [disposition_event(1)])
    assert outcome.detail == "y" * 1000
    receiver.answers = Answer(body=b"y" * 10_000_000)
    await sink.deliver([disposition_event(2)])


async def test_cookies_are_not_kept(receiver, make_sink):
    receiver.answers = Answer(headers={"Set-Cookie": "a=b"})
    sink = await make_sink(receiver.url.replace("127.0.0.1", "localhost"))
    await sink.deliver(events_of(2))
    assert "Cookie" not in receiver.posts[1].headers


async def test_connections_are_kept_between_batches(judge, make_sink, owned):
    ports = set()

    async def handle(request: web.Request) -> web.Response:
        ports.add(request.transport.get_extra_info("peername"))
        await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, access_log=None)
    owned.push_async_callback(runner.cleanup)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sink = await make_sink(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    for number in range(1, 6):
        await sink.deliver([disposition_event(number)])
    assert len(ports) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(200, None), (404, None), (405, None), (500, None), (401, Park), (403, Park)]
)
async def test_the_probe_sends_options_and_takes_any_answer_but_a_refusal(judge, make_sink, status, kind):
    url, seen = await judge(lambda _: status)
    sink = await make_sink(url, opened=False)
    if kind is None:
        await sink.check()
    else:
        with pytest.raises(kind):
            await sink.check()
    assert seen == [0]


async def test_the_probe_of_a_server_that_is_not_there_is_a_retry(receiver, make_sink):
    await receiver.stop()
    with pytest.raises(Retry, match="cannot be reached"):
        await (await make_sink(receiver.url)).check()


async def test_a_sink_that_is_not_open_says_so(make_sink):
    sink = await make_sink("http://127.0.0.1:1", opened=False)
    with pytest.raises(Retry, match="not open"):
        await sink.deliver([disposition_event(1)])


# --- Standard Webhooks ------------------------------------------------------------------------------------------------

SYMMETRIC = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ASYMMETRIC = "whsk_" + base64.b64encode(PRIVATE.private_bytes_raw()).decode()


@pytest.mark.parametrize("mode", ["structured", "binary", "batched"])
async def test_what_arrives_is_signed_and_its_id_stays_the_same(receiver, make_sink, mode):
    sink = await make_sink(receiver.url, mode=mode, signing_secrets=[SYMMETRIC, ASYMMETRIC], concurrency=1)
    receiver.script(Answer(status=503))
    batch = events_of(2)
    for _ in range(2):
        await outcome_of(sink, batch)
    for post in receiver.posts:
        Webhook(SYMMETRIC).verify(post.body, dict(post.headers))
        signed = f"{post.headers['webhook-id']}.{post.headers['webhook-timestamp']}.".encode() + post.body
        _, asymmetric = post.headers["webhook-signature"].split(" ")
        PRIVATE.public_key().verify(base64.b64decode(asymmetric.removeprefix("v1a,")), signed)
    ids = [post.headers["webhook-id"] for post in receiver.posts]
    if mode == "batched":
        assert ids == [batch_id(batch)] * 2
    else:
        assert ids == [batch[0].id, batch[0].id, batch[1].id]


async def test_a_signature_that_is_quoted_back_is_masked(receiver, make_sink):
    sink = await make_sink(receiver.url, host=Host(clock=ManualClock()), signing_secrets=[SYMMETRIC])
    await sink.deliver([disposition_event(1)])
    receiver.answers = Answer(status=422, body=receiver.posts[0].headers["webhook-signature"].encode())
    outcome = await outcome_of(sink, [disposition_event(1)])
    assert outcome.detail == "***"


async def test_without_secrets_there_is_an_id_and_a_time_and_no_signature(receiver, make_sink):
    await (await make_sink(receiver.url)).deliver([disposition_event(1)])
    (post,) = receiver.posts
    assert post.headers["webhook-id"] == disposition_event(1).id
    assert abs(int(post.headers["webhook-timestamp"]) - time.time()) < 60
    assert "webhook-signature" not in post.headers


# --- batched mode -----------------------------------------------------------------------------------------------------


async def test_a_batch_is_one_request(receiver, make_sink):
    batch = [*events_of(5, chats=2), gap_event(6)]
    await (await make_sink(receiver.url, mode="batched")).deliver(batch)
    (post,) = receiver.posts
    assert post.json == [json.loads(event.to_json()) for event in batch]


@pytest.mark.parametrize("bad", [{1}, {8}, {3, 4}, {1, 2, 3, 4, 5, 6, 7, 8}])
async def test_of_a_batch_that_is_refused_exactly_the_bad_events_are_rejected(receiver, make_sink, bad):
    def judge(body):
        return Answer(status=422) if any(int(event["sequence"]) in bad for event in body) else None

    receiver.judge = judge
    outcome = await outcome_of(await make_sink(receiver.url, mode="batched"), events_of(8, chats=2))
    assert isinstance(outcome, Reject)
    assert {index + 1 for index in outcome.letters} == bad
    assert {index + 1 for index in outcome.delivered} == set(range(1, 9)) - bad
    arrived = [int(event["sequence"]) for body in receiver.accepted() for event in body]
    assert arrived == sorted(set(range(1, 9)) - bad)
    assert receiver.most_at_once == 1


async def test_a_batch_that_meets_trouble_halfway_says_what_is_delivered(receiver, make_sink):
    receiver.script(Answer(status=413), Answer(), Answer(status=503, headers={"Retry-After": "5"}))
    outcome = await outcome_of(await make_sink(receiver.url, mode="batched"), events_of(4))
    assert isinstance(outcome, Retry)
    assert (outcome.delivered, outcome.after_s) == ({0, 1}, 5.0)
    assert len(receiver.posts) == 3


async def test_a_time_that_is_named_holds_for_what_is_left_beside_a_rejected_event(receiver, make_sink):
    receiver.script(Answer(status=422), Answer(status=429, headers={"Retry-After": "60"}))
    sink = await make_sink(receiver.url, concurrency=1)
    outcome = await outcome_of(sink, events_of(3))
    assert isinstance(outcome, Reject)
    assert outcome.after_s == 60.0


# --- gone -------------------------------------------------------------------------------------------------------------


async def test_a_receiver_that_is_gone_gets_nothing_more_whatever_restarts(receiver, make_sink, tmp_path):
    receiver.answers = Answer(status=410)

    async def run(journal: SqliteJournal) -> tuple[Lane, asyncio.Task[None]]:
        await journal.open()
        lane = Lane(
            name="crm",
            kind="webhook",
            sink=await make_sink(receiver.url, opened=False),
            journal=journal,
            policy=LanePolicy(),
            metrics=Metrics(),
            now_ms=lambda: 1,
        )
        task = asyncio.create_task(lane.run())
        await eventually(lambda: lane.status().parked)
        return lane, task

    journal = SqliteJournal(path=tmp_path / "journal.db")
    await journal.open()
    await journal.append(JournalBatch(events=tuple(events_of(3))))
    await journal.close()
    for _ in range(3):
        journal = SqliteJournal(path=tmp_path / "journal.db")
        lane, task = await run(journal)
        assert "the endpoint is gone, so the sink is disabled" in lane.status().parked
        assert (lane.resume(), len(receiver.posts)) == (False, 1)
        task.cancel()
        await asyncio.wait((task,))
        await journal.close()
    receiver.answers = Answer()
    lane, task = await run(journal)
    assert lane.resume(by_command=True)
    await receiver.received(4)
    task.cancel()
    await asyncio.wait((task,))
    await journal.close()
