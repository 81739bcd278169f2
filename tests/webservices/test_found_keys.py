"""Keys that the server names: asked for after each login, never given up, and nothing is decoded without one."""

import msgspec
import pytest
from structlog.testing import capture_logs

from listener.errors import LoginRefused, NotFound, ServerFault, Unreachable
from listener.webservices.found_keys import FALLBACK, FoundKeys
from listener.webservices.notifications import NotificationDecoder


class Server:
    """Answers what it is told to, one after the other, then the last again."""

    def __init__(self, *answers):
        self.answers = list(answers)

    async def disposition_key(self):
        answer = self.answers.pop(0) if self.answers[1:] else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def keys():
    return FoundKeys(lambda keys: NotificationDecoder(keys=keys))


def note(**user_data):
    chat = {"id": "c", "state": "Chatting", "userData": user_data}
    message = {"messageType": "ChatStateChangeMessage", "notificationType": "PropertiesUpdated", "chat": chat}
    return msgspec.json.encode(message)


def heard(decoder, **user_data):
    decoded = decoder.decode([note(**user_data)], account="a", received_ms=1)
    return [(one.key, one.value) for one in decoded.observations]


async def test_what_the_server_names_is_what_is_heard(keys):
    decoder = keys.decoder("a")
    await decoder.learn(Server("Outcome"))
    assert heard(decoder, Outcome="Sold", DispositionCode="No") == [("Outcome", "Sold")]
    chat = msgspec.json.encode({"id": "c", "state": "Chatting", "userData": {"Outcome": "Sold"}})
    assert len(decoder.decode_read([chat], account="a", received_ms=1).observations) == 1


async def test_a_key_that_is_named_later_comes_beside_those_before_it(keys):
    decoder, server = keys.decoder("a"), Server("Outcome", None, "Result", "Outcome")
    for _ in range(4):
        await decoder.learn(server)
    assert heard(decoder, Outcome="Sold", Result="Won") == [("Outcome", "Sold"), ("Result", "Won")]


async def test_a_server_that_names_ever_more_keys_is_followed_to_a_bound(keys):
    decoder = keys.decoder("a")
    for number in range(40):
        await decoder.learn(Server(f"Key{number}"))
    assert decoder.found == tuple(f"Key{number}" for number in range(24, 40))


@pytest.mark.parametrize(
    "answer", [None, NotFound("no", http_status=404, status_code=6), ServerFault("not JSON", http_status=200)]
)
async def test_where_the_server_names_none_the_usual_one_counts_and_that_is_told_once(keys, answer):
    with capture_logs() as log:
        for name in ("a", "b"):
            decoder = keys.decoder(name)
            await decoder.learn(Server(answer))
            assert heard(decoder, DispositionCode="Sold") == [(FALLBACK, "Sold")]
    (line,) = [line for line in log if line["event"] == "disposition_key_not_named"]
    assert (line["log_level"], line["key"]) == ("warning", FALLBACK)


@pytest.mark.parametrize(
    "failure",
    [Unreachable("down"), ServerFault("busy", http_status=503), LoginRefused("not you", http_status=401)],
)
async def test_a_server_that_does_not_answer_is_asked_again_before_anything_is_heard(keys, failure):
    decoder, server = keys.decoder("a"), Server(failure, "Outcome")
    with pytest.raises(type(failure)):
        await decoder.learn(server)
    with pytest.raises(RuntimeError, match="nothing is heard before `learn`"):
        heard(decoder, Outcome="Sold")
    await decoder.learn(server)
    assert heard(decoder, Outcome="Sold") == [("Outcome", "Sold")]


async def test_once_a_key_is_known_a_failure_costs_nothing(keys):
    decoder = keys.decoder("a")
    await decoder.learn(Server("Outcome"))
    for failure in (Unreachable("down"), NotFound("gone", http_status=404), ServerFault("x", http_status=500)):
        await decoder.learn(Server(failure))
    assert decoder.found == ("Outcome",)
