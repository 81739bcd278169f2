import nats
import pytest

from listener.errors import Park, Retry
from listener.sinks.nats.session import ApiError, Message, Session
from support.eventually import eventually
from support.natsserver import SUBJECT


async def test_the_size_of_a_message_is_what_the_server_counts(server):
    """One byte more, and the server hangs up."""
    await server.make_stream()
    ended = []

    async def note(*_):
        ended.append(True)

    client = await nats.connect(server.address, allow_reconnect=False, closed_cb=note, error_cb=note)
    headers = {"Nats-Msg-Id": "größer", "Content-Type": "application/json"}
    room = client.max_payload - Message(headers, b"").size
    await client.publish(SUBJECT, b"x" * room, headers=headers)
    await client.flush()
    assert not ended
    await client.publish(SUBJECT, b"x" * (room + 1), headers=headers)
    await eventually(lambda: ended)
    await client.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ApiError(code=404, err_code=10059, description="stream not found"), Park),
        (ApiError(code=400, err_code=10060, description="expected stream does not match"), Park),
        (ApiError(code=503, err_code=10077, description="maximum bytes exceeded"), Retry),
        (ApiError(code=503), Retry),
    ],
)
def test_an_error_of_the_stream_api_passes_or_needs_a_person(error, kind):
    outcome = error.outcome("stream S")
    assert isinstance(outcome, kind)
    assert str(outcome).startswith("stream S: ")


async def test_a_session_that_never_connected_can_be_closed():
    await Session(timeout_s=1).close()
