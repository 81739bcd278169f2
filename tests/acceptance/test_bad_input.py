"""Whatever a server sends: the real process counts it by reason, delivers its neighbours, and goes on."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import pytest

from listener.simulator import Simulator, SimulatorOptions
from listener.simulator.state import FIRST_CHAT
from support.bayeux import TOPIC, BayeuxServer
from support.eventually import eventually
from support.listening import CODE, Listening
from support.notifications import DOCUMENTED, encoded, notification, with_data
from support.publishing import CometdSite, SimulatedSite
from support.scrape import Scrape

Install = Callable[..., Awaitable[Listening]]
StartBayeux = Callable[..., Awaitable[BayeuxServer]]
MIB = 2**20


class Case(NamedTuple):
    """What is sent as `data`, and how it is counted: under `refused`, `filtered` or `malformed`, by this word."""

    data: bytes
    refused: str | None = None
    filtered: str | None = None
    malformed: str | None = None
    forwarded: Any = None  # the disposition that arrives all the same


def coded(value: bytes) -> bytes:
    """The documented notification with this JSON as its disposition."""
    return encoded(with_data(DispositionCode="@")).replace(b'"@"', value)


def spoilt(old: str, new: str) -> bytes:
    """The documented notification with one piece of its text replaced."""
    text = json.dumps(DOCUMENTED)
    assert old in text
    return text.replace(old, new, 1).encode()


CODE_PAIR = '"DispositionCode": "IssueResolved"'

CASES = {
    "broken JSON: a word without quotes": Case(b'{"chat": broken}', refused="malformed_json"),
    "broken JSON: a comma too many": Case(spoilt(CODE_PAIR, CODE_PAIR + ","), refused="malformed_json"),
    "broken JSON: a brace that never closes": Case(b'{"chat": {"id": "1"', refused="malformed_json"),
    "broken JSON: a text that never ends": Case(b'{"chat": "', refused="malformed_json"),
    "NaN": Case(coded(b"NaN"), refused="malformed_json"),
    "Infinity": Case(coded(b"-Infinity"), refused="malformed_json"),
    "null": Case(b"null", refused="not_an_object"),
    "a text": Case(b'"text"', refused="not_an_object"),
    "an array": Case(b"[1, 2]", refused="not_an_object"),
    "userData is a list": Case(encoded(notification(chat={"userData": []})), refused="wrong_type"),
    "chat is a text": Case(encoded({**DOCUMENTED, "chat": "0000Na9B26EF003M"}), refused="wrong_type"),
    "messageType is a number": Case(encoded(notification(messageType=7)), refused="wrong_type"),
    "notificationType is a list": Case(encoded(notification(notificationType=[])), refused="wrong_type"),
    "the disposition is a number": Case(coded(b"42"), forwarded="42"),
    "the disposition is a large decimal": Case(coded(b"1.50e400"), forwarded="1.50e400"),
    "the disposition is a bool": Case(coded(b"true"), forwarded="true"),
    "the disposition is null": Case(coded(b"null"), forwarded=None),
    "the disposition is empty": Case(coded(b'""'), forwarded=None),
    "the disposition is an object": Case(coded(b'{"a": 1}'), refused="value_not_scalar"),
    "the disposition is an array": Case(coded(b'["a"]'), refused="value_not_scalar"),
    "the disposition is a text of 1 MB": Case(coded(b'"' + b"x" * MIB + b'"'), refused="value_too_long"),
    "the disposition is half a surrogate pair": Case(coded(b'"\\ud83d"'), refused="malformed_text"),
    "the disposition is no UTF-8": Case(coded(b'"\xff\xfe"'), refused="malformed_text"),
    "the disposition is in any script": Case(
        coded('"ré\\u0073olu 解決 \U0001f600"'.encode()), forwarded="résolu 解決 😀"
    ),
    "a chat without id": Case(encoded(notification(chat={"id": ...})), refused="no_chat_id"),
    "a chat whose id is empty": Case(encoded(notification(chat={"id": ""})), refused="no_chat_id"),
    "a chat whose id is a number": Case(encoded(notification(chat={"id": 7})), refused="no_chat_id"),
    "a chat whose id is half a surrogate pair": Case(spoilt("0000Na9B26EF003M", "\\ud800"), refused="no_chat_id"),
    "a key that stands twice": Case(spoilt(CODE_PAIR, f'{CODE_PAIR}, "DispositionCode": "Last"'), forwarded="Last"),
    "a chat that stands twice": Case(
        spoilt('"chat": ', '"chat": {"id": "first"}, "chat": '), forwarded="IssueResolved"
    ),
    "deep nesting beside": Case(
        spoilt('"referenceId": 34', f'"x": {"[" * 100_000}{"]" * 100_000}'), refused="too_deep"
    ),
    "deep nesting in userData": Case(
        spoilt('"DispositionCode"', f'"x": {"[" * 100_000}{"]" * 100_000}, "DispositionCode"'), refused="too_deep"
    ),
    "3 MB beside": Case(spoilt('"referenceId": 34', f'"x": "{"y" * 3 * MIB}"'), forwarded="IssueResolved"),
    "10 MB beside": Case(spoilt('"referenceId": 34', f'"x": "{"y" * 10 * MIB}"'), refused="too_large"),
    "unknown fields": Case(spoilt('"referenceId": 34', '"new": {"a": [1, null]}'), forwarded="IssueResolved"),
    "referenceId is a text": Case(
        encoded(notification(referenceId="34")), malformed="referenceId", forwarded="IssueResolved"
    ),
    "referenceId is beyond any integer": Case(
        encoded(notification(referenceId=10**30)), malformed="referenceId", forwarded="IssueResolved"
    ),
    "participants is an object": Case(
        encoded(notification(chat={"participants": {}})), malformed="participants", forwarded="IssueResolved"
    ),
    "state is a list": Case(encoded(notification(chat={"state": []})), malformed="state", forwarded="IssueResolved"),
    "metrics is a text": Case(encoded(notification(metrics="x")), malformed="metrics", forwarded="IssueResolved"),
    "another message type": Case(encoded(notification(messageType="CallStateChangeMessage")), filtered="message_type"),
    "MessageLogUpdated, which has no chat": Case(
        encoded({"messageType": "MessageLogUpdated", "notificationType": "NewMessages", "messages": []}),
        filtered="message_type",
    ),
    "another notification type": Case(
        encoded(notification(notificationType="StatusChange")), filtered="notification_type"
    ),
    "no chat": Case(encoded({**DOCUMENTED, "chat": None}), filtered="no_chat"),
    "userData without the key": Case(encoded(with_data(Other="x")), filtered="no_key"),
    "userData is missing": Case(encoded(notification(chat={"userData": ...})), filtered="no_key"),
}

GARBAGE = ["truncated", "html", "empty", "binary", "null", "scalar", "array"]


def sums(seen: Scrape) -> tuple[int, int]:
    """What was received, and what became of it."""
    parts = ("forwarded", "filtered", "refused")
    return seen.total("notifications_received_total"), sum(seen.total(f"notifications_{part}_total") for part in parts)


def counted(seen: Scrape) -> dict[str, dict[str, int]]:
    return {
        "refused": seen.by("reason", "notifications_refused_total"),
        "filtered": seen.by("reason", "notifications_filtered_total"),
        "malformed": seen.by("field", "fields_malformed_total"),
    }


@pytest.fixture(params=[False, True], ids=["without ack", "with ack"])
async def simulator(request: pytest.FixtureRequest, owned: AsyncExitStack) -> Simulator:
    options = SimulatorOptions(agents=1, timeout_ms=2000, ack=request.param)
    return await owned.enter_async_context(Simulator(options))


def good(number: int) -> bytes:
    """A notification of a chat of its own."""
    return encoded(notification(chat={"id": f"good-{number}", "userData": {"DispositionCode": f"{CODE}{number}"}}))


async def test_each_bad_notification_is_counted_by_its_reason_and_costs_nothing_else(
    simulator: Simulator, install: Install
):
    """Each one comes between two good ones, in one response."""
    listening = await install(SimulatedSite(simulator))
    await listening.start()
    wrong = {}
    for number, (name, case) in enumerate(CASES.items()):
        before = counted(await listening.metrics())
        first, last = good(2 * number), good(2 * number + 1)
        for data in (first, case.data, last):
            simulator.publish("agent1", data)
        neighbours = [f"{CODE}{2 * number}", f"{CODE}{2 * number + 1}"]
        await eventually(lambda code=neighbours[1]: dispositions(listening)[-1:] == [code], what=name)
        after = counted(await listening.metrics())
        expected = {
            "refused": case.refused,
            "filtered": case.filtered,
            "malformed": case.malformed,
            "arrived": [neighbours[0], *([] if case.refused or case.filtered else [case.forwarded]), neighbours[1]],
        }
        arrived = dispositions(listening)
        found = {kind: risen(before[kind], after[kind]) for kind in before} | {
            "arrived": arrived[arrived.index(neighbours[0]) :]
        }
        if found != expected:
            wrong[name] = {"found": found, "expected": expected}
    assert wrong == {}
    seen = await listening.metrics()
    assert sums(seen) == (3 * len(CASES), 3 * len(CASES))
    assert listening.gaps == []
    assert simulator.state()["handshakes"] == 1


def dispositions(listening: Listening) -> list[str | None]:
    return [event["data"]["disposition"] for event in listening.dispositions]


def risen(before: dict[str, int], after: dict[str, int]) -> str | None:
    """The word whose counter has risen by one; more than that is told as it is."""
    rises = {word: after[word] - before.get(word, 0) for word in after if after[word] != before.get(word, 0)}
    return next(iter(rises)) if list(rises.values()) == [1] else str(rises) if rises else None


async def test_responses_that_are_garbage_cost_no_event_that_can_be_had(simulator: Simulator, install: Install):
    """With acknowledgements it comes again; without, the chats are read and the gap is on record."""
    listening = await install(SimulatedSite(simulator))
    await listening.start()
    for number, kind in enumerate(GARBAGE, start=1):
        simulator.control("garbage", kind=kind)
        simulator.set_disposition("agent1", FIRST_CHAT, f"{CODE}{number}")
        await listening.heard([number])
    simulator.set_disposition("agent1", FIRST_CHAT, f"{CODE}{len(GARBAGE) + 1}")
    await listening.heard([len(GARBAGE) + 1])
    assert listening.numbers == list(range(1, len(GARBAGE) + 2))
    assert simulator.state()["handshakes"] == 1
    received, told = sums(await listening.metrics())
    assert received == told > 0
    assert {gap["reason"] for gap in listening.gaps} == (set() if simulator.options.ack else {"no_ack_cut"})


async def test_a_bare_reply_is_taken_for_an_array_of_one(simulator: Simulator, install: Install):
    listening = await install(SimulatedSite(simulator))
    simulator.control("garbage", kind="object", count=3)
    await listening.start()
    assert simulator.state()["handshakes"] == 1
    assert (await listening.metrics()).total("exchanges_failed_total") == 0


async def test_a_bare_event_is_taken_for_an_array_of_one(start_bayeux: StartBayeux, install: Install):
    server = await start_bayeux("cometd-no-ack", "--timeout-ms", "500")
    listening = await install(CometdSite(server))
    await listening.start()
    await server.fail(200, body=json.dumps({"channel": TOPIC, "data": DOCUMENTED}))
    await eventually(lambda: dispositions(listening) == ["IssueResolved"])
    await server.publish(with_data(DispositionCode="Next"))
    await eventually(lambda: dispositions(listening) == ["IssueResolved", "Next"])
    assert (await server.state())["handshakes"] == 1


async def test_of_a_response_of_any_length_only_a_message_beyond_the_limit_is_refused(
    simulator: Simulator, install: Install
):
    listening = await install(SimulatedSite(simulator), server={"url": simulator.url, "max_message_bytes": 2**16})
    await listening.start()
    expected = [f"{CODE}{number}" for number in range(1000)]
    for number, code in enumerate(expected):
        if number == 500:
            simulator.publish("agent1", encoded(with_data(DispositionCode="Huge", Other="x" * MIB)))
        simulator.publish("agent1", encoded(with_data(DispositionCode=code, Other="x" * 1000)))
    await eventually(lambda: len(dispositions(listening)) >= len(expected))
    assert dispositions(listening) == expected
    assert counted(await listening.metrics())["refused"] == {"too_large": 1}
    assert listening.gaps == []
    assert simulator.state()["handshakes"] == 1
