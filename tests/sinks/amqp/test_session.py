"""What errors mean; how the client comes to them is seen at the real broker, in test_sink.py."""

import ssl

import pytest
from aiormq import exceptions

from listener.errors import Park, Retry
from listener.sinks.amqp.session import largest_refused, outcome_of

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
        (exceptions.DeliveryError(None, None), Retry, "mq: the broker did not take it; a queue may be full"),
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
