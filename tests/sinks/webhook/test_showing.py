"""What is shown of a request and its answer holds no secret, and nothing that may be one."""

import json

import pytest
from yarl import URL

from listener.ports import ShowsExchanges
from listener.sinks.webhook.endpoint import Answer, Failure
from listener.sinks.webhook.showing import exchange_of
from support.delivering import outcome_of
from support.events import disposition_event
from support.receiver import Answer as ReceiverAnswer

SECRETS = {"headers": {"X-Key": "k3y-of-ours"}, "bearer_token": "t0ken-of-ours"}
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def shown_of(sink):
    """The exchanges of a delivery."""
    exchanges = []
    assert isinstance(sink, ShowsExchanges)
    sink.show_to(exchanges.append)
    outcome = await outcome_of(sink, [disposition_event(1)])
    sink.show_to(None)
    await outcome_of(sink, [disposition_event(1)])
    return exchanges, outcome


async def test_request_and_answer_are_shown_without_a_secret(receiver, make_sink):
    receiver.answers = ReceiverAnswer(
        status=422,
        headers={"X-Echo": "t0ken-of-ours", "Set-Cookie": "session=s3ss10n"},
        body=b"k3y-of-ours\nis not what\x1b[31m I know",
    )
    sink = await make_sink(f"{receiver.url}/T0/s3cret?key=s3cret", signing_secrets=[SIGNING], **SECRETS)
    (exchange,), outcome = await shown_of(sink)
    assert outcome is not None
    lines = exchange.request.split("\n")
    assert lines[0] == f"POST {receiver.url}/…/…?…"
    assert "webhook-id: event-1" in lines
    assert "webhook-signature: ***" in lines
    assert "X-Key: ***" in lines
    assert "Authorization: ***" in lines
    assert json.loads(lines[-1])["id"] == "event-1"
    assert exchange.answer.startswith("422\n")
    assert "\nX-Echo: ***\n" in exchange.answer
    assert exchange.answer.endswith("\n\n*** is not what [31m I know")
    told = f"{exchange.request}{exchange.answer}"
    signature = receiver.posts[0].headers["webhook-signature"]
    for secret in ("s3cret", "k3y-of-ours", "t0ken-of-ours", "s3ss10n", SIGNING, signature.partition(",")[2]):
        assert secret not in told, secret


async def test_who_does_not_answer_is_told(make_sink):
    sink = await make_sink("http://127.0.0.1:9/hook")
    (exchange,), _ = await shown_of(sink)
    assert exchange.answer.startswith("http://127.0.0.1:9/hook ")


@pytest.mark.parametrize(
    "answer", [Answer(status=200, headers={}, body=b""), Failure(text="no answer", detail="x" * 10_000)]
)
def test_what_is_shown_is_bounded(answer):
    shown = exchange_of(
        "POST",
        URL("https://crm.example/"),
        headers={f"x-{number}": "y" * 5000 for number in range(100)},
        secret_headers=(),
        secrets=(),
        body=b"z" * 100_000,
        answer=answer,
    )
    assert shown.request.startswith("POST https://crm.example\n")
    assert len(shown.request) < 50_000
    assert len(shown.answer) <= 1000
