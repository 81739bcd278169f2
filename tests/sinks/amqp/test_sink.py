"""The amqp sink at a real RabbitMQ."""

import logging

import pytest
from structlog.testing import capture_logs

from listener.errors import Park, Reject, Retry
from listener.testing.events import sample_event
from support.authority import Authority
from support.events import disposition_event, events_of
from support.rabbitmq import MAX_BYTES, PASSWORD, QUEUE, READER, WRITER

EXCHANGE = "dispositions.topic"


@pytest.mark.parametrize(
    ("queue", "facts", "risk"),
    [
        ({"queue_type": "quorum"}, (True, "quorum"), None),
        ({}, (True, "classic"), "queue dispositions is a classic queue: its events are on one node"),
        ({"durable": False}, (False, None), "queue dispositions is not durable: a restart of the broker loses it"),
        ({"max_length": 5}, (True, None), "the broker does not tell whether queue dispositions is replicated"),
    ],
)
async def test_what_a_confirm_is_worth_is_asked_and_told_and_changes_nothing(rabbitmq, make_sink, queue, facts, risk):
    await rabbitmq.make_queue(**queue)
    with capture_logs() as logs:
        await make_sink()
    (line,) = logs
    assert (line["durable"], line["queue_type"]) == facts
    assert line["destination"].endswith("virtual host /, exchange (default), queue dispositions")
    assert line["log_level"] == ("warning" if risk else "info")
    assert risk is None or line["risks"][0].startswith(risk)
    async with rabbitmq.channel() as channel:
        named = {f"x-{key.replace('_', '-')}": value for key, value in queue.items() if key != "durable"}
        await channel.declare_queue(QUEUE, durable=queue.get("durable", True), arguments=named)


async def test_without_the_right_to_ask_nothing_is_known_and_that_is_a_warning(rabbitmq, make_sink):
    await rabbitmq.make_queue(queue_type="quorum")
    with capture_logs() as logs:
        await make_sink(username=WRITER, password=PASSWORD)
    assert logs[0]["risks"] == ["the broker does not tell whether queue dispositions is durable and replicated"]
    with capture_logs() as logs:
        await make_sink(exchange="amq.topic", queue=None)
    assert logs[0]["risks"] == ["the broker does not tell whether what the exchange leads to is durable and replicated"]


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
async def test_declare_makes_exchange_queue_and_binding_once(rabbitmq, make_sink, queue_type):
    async with rabbitmq.channel() as channel:
        await channel.queue_delete(QUEUE)
        await channel.exchange_delete(EXCHANGE)
    options = {"exchange": EXCHANGE, "declare": True, "queue_type": queue_type}
    probe = await make_sink(opened=False, **options)
    await probe.check()
    for number in (1, 2):
        await (await make_sink(**options)).deliver([disposition_event(number)])
    taken = await rabbitmq.take()
    assert [message.message_id for message in taken] == ["event-1", "event-2"]
    assert {message.routing_key for message in taken} == {"disposition-listener.chat.disposition"}
    async with rabbitmq.channel() as channel:
        await channel.declare_queue(QUEUE, durable=True, arguments={"x-queue-type": queue_type})


async def test_what_is_there_and_different_is_not_made_over(rabbitmq, make_sink):
    await rabbitmq.make_queue(durable=False)
    with pytest.raises(Park, match="PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'dispositions'"):
        await make_sink(declare=True)


@pytest.mark.parametrize(
    ("missing", "text"),
    [({"queue": "nowhere"}, "NOT_FOUND - no queue 'nowhere'"), ({"exchange": "x"}, "NOT_FOUND - no exchange 'x'")],
)
async def test_what_is_not_there_needs_a_person(rabbitmq, make_sink, missing, text):
    await rabbitmq.make_queue()
    sink = await make_sink(opened=False, **missing)
    for probe in (sink.check, sink.open):
        with pytest.raises(Park, match=text):
            await probe()


@pytest.fixture
async def queue(rabbitmq):
    await rabbitmq.make_queue()
    return rabbitmq


async def test_what_arrives_is_persistent_and_one_message_per_event(queue, make_sink):
    await (await make_sink(mode="binary")).deliver([disposition_event(1)])
    (message,) = await queue.take()
    assert (message.message_id, message.delivery_mode) == ("event-1", 2)
    assert (message.body, message.content_type) == (disposition_event(1).data, "application/json")
    assert message.headers["cloudEvents:id"] == "event-1"


async def test_a_login_of_odd_characters_reaches_the_broker_as_it_is(queue, make_sink, tmp_path):
    (tmp_path / "secret").write_text(f"{PASSWORD}\n", encoding="utf-8")
    for given in ({"password": PASSWORD}, {"password_file": "secret"}):
        await (await make_sink(username=WRITER, **given)).deliver([disposition_event(1)])
    assert len(await queue.take()) == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"username": WRITER, "password": "wrong one"}, "ACCESS_REFUSED - Login was refused"),
        ({"username": "nobody", "password": "wrong one"}, "ACCESS_REFUSED - Login was refused"),
        ({"url": "/elsewhere"}, "virtual host elsewhere: there is no such virtual host"),
        ({"url": "/contact%20center", "username": WRITER, "password": PASSWORD}, "or this user may not use it"),
    ],
)
async def test_a_login_that_is_refused_needs_a_person_and_shows_no_password(queue, make_sink, options, text, caplog):
    if "url" in options:
        options = {**options, "url": f"amqp://127.0.0.1:{queue.port}{options['url']}"}
    sink = await make_sink(opened=False, **options)
    with caplog.at_level(logging.DEBUG):
        for probe in (sink.check, sink.open):
            with pytest.raises(Park, match=text) as caught:
                await probe()
            assert options.get("password", "-") not in str(caught.value)
    assert options.get("password", "-") not in caplog.text


async def test_who_may_not_write_there_needs_a_person(queue, make_sink):
    sink = await make_sink(username=READER, password=PASSWORD)
    with pytest.raises(Park, match="ACCESS_REFUSED"):
        await sink.deliver(events_of(3))
    assert await queue.take() == []


async def test_an_event_that_no_queue_takes_parks_the_lane_and_the_others_count(queue, make_sink):
    """A routing key that leads nowhere: mandatory (AMQP 0-9-1, 1.8.3.3)."""
    sink = await make_sink(routing_key="$subject")
    batch = [disposition_event(1, chat=QUEUE), disposition_event(2, chat="nowhere"), disposition_event(3, chat=QUEUE)]
    with pytest.raises(Park, match="no queue is bound for this routing key") as caught:
        await sink.deliver(batch)
    assert caught.value.delivered == {0, 2}
    assert "nowhere" not in caught.value.reason
    await queue.make_queue("nowhere")
    await sink.deliver([batch[1]])
    assert [message.message_id for message in await queue.take("nowhere")] == ["event-2"]


async def test_an_exchange_that_goes_away_parks_the_lane(queue, make_sink):
    async with queue.channel() as channel:
        exchange = await channel.declare_exchange("passing", "fanout")
        await (await channel.get_queue(QUEUE)).bind(exchange)
        sink = await make_sink(exchange="passing")
        await exchange.delete()
    with pytest.raises(Park, match="NOT_FOUND - no exchange 'passing'"):
        await sink.deliver(events_of(3))


async def test_a_queue_that_is_full_is_waited_for_and_no_event_overtakes_another_of_its_chat(queue, make_sink):
    await queue.make_queue("full", max_length=1, overflow="reject-publish")
    sink = await make_sink(routing_key="$disposition")
    await sink.deliver([disposition_event(1, value="full")])
    batch = [
        disposition_event(2, value="full"),
        disposition_event(3, value=QUEUE),
        disposition_event(4, value=QUEUE, chat="another"),
    ]
    with pytest.raises(Retry, match="a queue may be full") as caught:
        await sink.deliver(batch)
    assert caught.value.delivered == {2}
    assert [message.message_id for message in await queue.take("full")] == ["event-1"]
    await sink.deliver(batch[:2])
    assert [message.message_id for message in await queue.take()] == ["event-4", "event-3"]


async def test_what_can_never_be_sent_is_named_and_the_rest_goes_on(queue, make_sink):
    sink = await make_sink()
    batch = [sample_event(1), sample_event(2, data_bytes=MAX_BYTES), sample_event(3)]
    with pytest.raises(Reject, match=r"accepts no message of \d+ bytes") as caught:
        await sink.deliver([batch[1]])
    assert caught.value.letters.keys() == {0}
    await sink.deliver([batch[0], batch[2]])
    assert len(await queue.take()) == 2


async def test_a_routing_key_that_is_too_long_is_refused_by_name(queue, make_sink):
    sink = await make_sink(routing_key="$subject")
    batch = [disposition_event(1, chat=QUEUE), disposition_event(2, chat="c" * 256)]
    with pytest.raises(Reject, match=r"sinks\.bus\.routing_key yields a key of more than 255 bytes") as caught:
        await sink.deliver(batch)
    assert (caught.value.letters.keys(), caught.value.delivered) == ({1}, {0})


async def test_over_tls_certificates_are_verified_and_shown(queue, make_sink, tmp_path):
    url = f"amqps://127.0.0.1:{queue.tls_port}"
    trusting = {"url": url, "ca_file": str(queue.authority.ca_file)}
    client = str(queue.authority.issue("client"))
    await (await make_sink(**trusting, client_cert_file=client)).deliver([disposition_event(1)])
    assert len(await queue.take()) == 1
    with pytest.raises((Park, Retry), match=r"CERTIFICATE_REQUIRED|reset"):  # the client may lose why
        await make_sink(**trusting)
    for strange in ({}, {"ca_file": str(Authority(tmp_path).ca_file)}):
        with pytest.raises(Retry, match="a certificate that is not trusted"):
            await make_sink(url=url, client_cert_file=client, **strange)


async def test_a_broker_that_does_not_confirm_is_given_up_after_the_time_limit(queue, make_sink):
    sink = await make_sink(timeout_s=0.5)
    async with queue.stall():
        with pytest.raises(Retry, match="did not answer in time"):
            await sink.deliver([disposition_event(1)])


async def test_a_sink_that_is_not_open_delivers_nothing(queue, make_sink):
    with pytest.raises(Retry, match=r"sinks\.bus is not open"):
        await (await make_sink(opened=False)).deliver([disposition_event(1)])
