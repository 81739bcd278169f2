"""What a real broker tells of its queues, and what may be made there."""

import pytest
from structlog.testing import capture_logs

from listener.errors import Park
from support.events import disposition_event
from support.rabbitmq import PASSWORD, QUEUE, WRITER

EXCHANGE = "dispositions.topic"


@pytest.mark.parametrize(
    ("queue", "facts", "risk"),
    [
        ({"queue_type": "quorum"}, (True, "quorum"), None),
        ({}, (True, "classic"), "queue dispositions is a classic one: its events are on one node"),
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
