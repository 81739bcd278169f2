from aio_pika import DeliveryMode
from msgspec.structs import replace

from listener.model.forms import CLOUD_EVENT, form_of
from listener.sinks.amqp.message import AmqpMessageWriter
from support.events import disposition_event

EVENT = disposition_event(7)


def written(*, event=EVENT, form=CLOUD_EVENT, mode="structured", key="k"):
    return AmqpMessageWriter(form=form, mode=mode, key=key).letter(event)


def test_a_message_is_persistent_and_carries_the_id_of_its_event():
    message = written().message
    assert message.delivery_mode == DeliveryMode.PERSISTENT
    assert (message.message_id, message.type) == ("event-7", "disposition-listener.chat.disposition")


def test_structured_has_the_whole_event_in_the_body():
    message = written().message
    assert (message.body, message.content_type) == (EVENT.to_json(), "application/cloudevents+json; charset=utf-8")
    assert message.headers == {}


def test_binary_has_the_data_in_the_body_and_every_attribute_in_a_header():
    message = written(mode="binary").message
    assert (message.body, message.content_type) == (EVENT.data, "application/json")
    assert message.headers == {
        "cloudEvents:specversion": "1.0",
        "cloudEvents:type": "disposition-listener.chat.disposition",
        "cloudEvents:source": "https://gws.example.com/api/v2/me/chats",
        "cloudEvents:id": "event-7",
        "cloudEvents:subject": "0000Na9B26EF003M",
        "cloudEvents:time": "2026-11-22T09:39:00.123Z",
        "cloudEvents:sequence": "7",
    }


def test_the_body_has_the_form_that_the_table_asks_for_in_either_mode():
    form = form_of("template", "$chatId", "text/plain")
    for mode in ("structured", "binary"):
        message = written(form=form, mode=mode).message
        assert (message.body, message.content_type) == (b"0000Na9B26EF003M", "text/plain")


def test_the_routing_key_is_made_of_the_event():
    assert written(key="cc.$account.$change").routing_key == "cc.agent1.set"
    assert written(key="q$$").routing_key == "q$"


def test_a_key_that_is_too_long_is_known_before_it_is_sent():
    assert written(event=replace(EVENT, subject="é" * 127), key="$subject").addressable
    assert not written(event=replace(EVENT, subject="é" * 128), key="$subject").addressable
