"""What errors mean; how the client comes to them is seen at the real broker, in test_sink.py."""

import ssl

import pytest
from aio_pika import DeliveryMode
from aiormq import exceptions
from msgspec.structs import replace

from listener.errors import Park, Retry
from listener.model.forms import CLOUD_EVENT, form_of
from listener.sinks.amqp.session import AmqpMessageWriter, largest_refused, outcome_of
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


TOO_LARGE = exceptions.ChannelPreconditionFailed(
    "PRECONDITION_FAILED - message size 700 is larger than configured max size 600"
)


def wrapped(error):
    """As the client does it."""
    made = exceptions.AMQPConnectionError(*error.args)
    made.__cause__ = error
    return made


def tls_error(reason):
    error = ssl.SSLError(1, f"[SSL: {reason}] told by the broker")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (TimeoutError(), Retry, "mq did not answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), Retry, "mq: 111 Connection refused"),
        (exceptions.ConnectionInternalError("INTERNAL_ERROR"), Retry, "mq: INTERNAL_ERROR"),
        (exceptions.DeliveryError(None, None), Retry, "mq: the broker rejected it; a queue may be full"),
        (exceptions.ChannelLockedResource("RESOURCE_LOCKED"), Retry, "mq: RESOURCE_LOCKED"),
        (RuntimeError(), Retry, "mq: RuntimeError"),
        (exceptions.ProbableAuthenticationError("ACCESS_REFUSED"), Park, "mq: ACCESS_REFUSED"),
        (exceptions.ConnectionNotAllowed("NOT_ALLOWED - vhost deleted"), Park, "mq: NOT_ALLOWED - vhost deleted"),
        (exceptions.ChannelNotFoundEntity("NOT_FOUND - no queue"), Park, "mq: NOT_FOUND - no queue"),
        (exceptions.ChannelAccessRefused("ACCESS_REFUSED"), Park, "mq: ACCESS_REFUSED"),
        (TOO_LARGE, Park, "mq: PRECONDITION_FAILED"),
        (wrapped(tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED")), Park, "mq: TLS: TLSV13_ALERT_CERTIFICATE_REQUIRED"),
        (wrapped(tls_error("WRONG_VERSION_NUMBER")), Retry, "mq: TLS: WRONG_VERSION_NUMBER"),
    ],
)
def test_what_passes_by_itself_is_told_from_work_for_a_person(error, kind, text):
    outcome = outcome_of(error, "mq")
    assert type(outcome) is kind
    assert outcome.reason.startswith(text)


def test_the_size_that_was_too_large_is_read_from_what_the_broker_says():
    assert largest_refused(TOO_LARGE) == 700
    assert largest_refused(exceptions.ChannelPreconditionFailed("PRECONDITION_FAILED - else")) is None
    assert largest_refused(None) is None
