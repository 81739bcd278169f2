"""The HTTP side of the real daemon, judged by the tools of those who use it."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from listener.runtime.metrics import PREFIX, TABLE
from listener.web.limits import CONNECTIONS
from support.eventually import eventually
from support.listening import Listening
from support.pages import TOKEN, bearer, raw
from support.receiver import Answer, Receiver
from support.stage import AGENT, Stage
from support.tools import lacking, need

SINKS = {"crm": {"retry_limit_s": 0.2}}


@pytest.fixture
async def listening(owned: Any, stage: Stage, receiver: Receiver, tmp_path: Path) -> Listening:
    """A daemon with a token, one event at both sinks, and one that has parked the webhook."""
    (tmp_path / "http.token").write_text(f"{TOKEN}\n", encoding="utf-8")
    there = await owned.enter_async_context(Listening(tmp_path, webhook=receiver.url, sinks=SINKS, **stage.settings))
    config = tmp_path / "listener.toml"
    text = config.read_text(encoding="utf-8").replace('["http"]', '["http"]\ntoken_file = "http.token"')
    config.write_text(text, encoding="utf-8")
    await there.start()
    stage.simulator.set_disposition(AGENT, stage.chats[0], "A", "DispositionCode")
    await receiver.received(1)
    receiver.answers = Answer(status=401)
    stage.simulator.set_disposition(AGENT, stage.chats[0], "B", "DispositionCode")
    await there.daemon.logged("sink_parked")
    await eventually(lambda: len(there.dispositions) == 2)
    return there


@pytest.fixture
async def http(owned: Any, listening: Listening) -> aiohttp.ClientSession:
    port = (await listening.daemon.logged("http_listening"))["port"]
    return await owned.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=bearer()))


async def become_ready(http: aiohttp.ClientSession, receiver: Receiver) -> None:
    """Let the webhook take what it has refused."""
    receiver.answers = Answer()
    answer = await http.post("/sinks/crm/resume", json={})
    assert (answer.status, await answer.json()) == (200, {"sink": "crm", "resumed": True, "trying": False})

    async def is_ready() -> bool:
        return (await http.get("/readyz")).status == 200

    await eventually(is_ready)


async def outcome_of(*argv: str | Path, folder: Path, sent: bytes = b"") -> tuple[int | None, str]:
    """Exit status and output of a command, run in a folder."""
    process = await asyncio.create_subprocess_exec(*argv, stdin=PIPE, stdout=PIPE, stderr=STDOUT, cwd=folder)
    output, _ = await process.communicate(sent)
    return process.returncode, output.decode(errors="replace")


async def test_promtool_finds_nothing_wrong_with_a_scrape_and_every_metric_is_in_it(
    http: aiohttp.ClientSession, tmp_path: Path
):
    promtool = need("promtool", package="prometheus")
    text = await (await http.get("/metrics")).text()
    assert await outcome_of(promtool, "check", "metrics", folder=tmp_path, sent=text.encode()) == (0, "")
    shown = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert shown == {PREFIX + row.name for row in TABLE}


async def test_readiness_tells_strangers_which_part_it_is_and_nobody_by_name(
    http: aiohttp.ClientSession, stage: Stage, listening: Listening
):
    stage.simulator.control("deny-handshake", count=1000)
    stage.simulator.control("expire")
    await eventually(lambda: "session_problem" in str(listening.daemon.log))

    async def texts() -> tuple[str, str] | None:
        hidden = await (await http.get("/readyz", headers={"Authorization": ""})).text()
        shown = await (await http.get("/readyz")).text()
        return (hidden, shown) if "accounts[0] has no subscription" in hidden and AGENT in shown else None

    hidden, shown = await eventually(texts)
    assert "sink crm is parked\n" in hidden
    assert AGENT not in hidden
    assert "401" not in hidden
    assert "sink crm is parked: " in shown


async def test_the_status_is_what_its_schema_says(http: aiohttp.ClientSession):
    if find_spec("jsonschema_rs") is None:
        lacking("jsonschema-rs is not installed (it comes with schemathesis)")
    import jsonschema_rs  # noqa: PLC0415 - only where it is installed

    document = await (await http.get("/openapi.json")).json()
    status = await (await http.get("/status.json")).json()
    schemas = document["components"]["schemas"]
    root = {**schemas["Status"], "components": {"schemas": schemas}, "additionalProperties": False}
    validator = jsonschema_rs.Draft202012Validator(root)
    validator.validate(status)
    assert status["sinks"][1]["parked"]
    assert status["journal"]["stored"]["events"] >= 2
    for broken in (status | {"more": 1}, {**status, "lanes": None}, {key: status[key] for key in list(status)[1:]}):
        assert not validator.is_valid(broken)
    others = {"/summary.json": "Summary", "/accounts.json": "AccountPage", "/dead-letters/groups": "DeadLetterGroups"}
    for path, name in others.items():
        root = {**schemas[name], "components": {"schemas": schemas}, "additionalProperties": False}
        told = await (await http.get(path)).json()
        jsonschema_rs.Draft202012Validator(root).validate(told)
        assert not jsonschema_rs.Draft202012Validator(root).is_valid({key: told[key] for key in list(told)[1:]})


async def test_the_server_holds_to_its_description_whatever_is_sent(
    http: aiohttp.ClientSession, listening: Listening, receiver: Receiver, tmp_path: Path
):
    """Schemathesis plays each operation with what its schema allows and with what it does not."""
    if find_spec("schemathesis") is None:
        lacking("schemathesis is not installed (extra `test`)")
    await become_ready(http, receiver)
    command = Path(sys.executable).with_name("schemathesis")
    url = str((await http.get("/openapi.json")).url)
    options = ["-H", f"Authorization: Bearer {TOKEN}", "--max-examples", "10", "--seed", "1", "--warnings", "off"]
    for part in (["--exclude-path", "/events"], ["--include-path", "/events", "--mode", "negative"]):  # it has no end
        status, output = await outcome_of(command, "run", url, *options, *part, folder=tmp_path)
        assert status == 0, output[-8000:]
        assert "No issues found" in output
    assert listening.daemon.exit_status is None
    assert (await http.get("/livez")).status == 200
    noise = [entry for entry in listening.daemon.log if entry["event"] == "http_refused"]
    assert len(noise) < 30, "once a minute and reason"
    assert not [entry for entry in noise if entry["reason"] == "failed"]
    assert TOKEN not in json.dumps(listening.daemon.log)


OPEN = {"/livez", "/readyz", "/", "/console/index.html"}
LOOKING = {"/events", "/events.json", "/dead-letters.json", "/sinks/crm/attempts"}
QUERIES = ("limit=0", "recent=10001", "after=-1", "before=x", "limit=1&limit=1", "after=%00", "x", "sink=" + "x" * 2000)


def hostile(method: str, path: str) -> Iterator[tuple[bytes, set[int]]]:
    """What a client that means harm sends to one operation, and the statuses that are an answer to it."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode()
    token = f"Authorization: Bearer {TOKEN}\r\n".encode()
    is_open = path in OPEN
    yield head + b"Authorization: Bearer wrong\r\n\r\n", {200, 503} if is_open else {401}
    yield head + b"\r\n", {200, 503} if is_open else {401}
    yield head + token + b"Content-Length: 99999999\r\n\r\n" + b"x" * 200_000, {413}
    yield head + token + b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + b"x" * 16_384 + b"\r\n", {413, 0}
    yield head + token + b"Content-Length: -1\r\n\r\n", {400}
    yield head + b"X: " + b"y" * 100_000 + b"\r\n\r\n", {400}
    yield head + b"X: y\r\n" * 1000 + b"\r\n", {400}
    yield head + b"X\x00: y\r\n\r\n", {400}
    yield head.replace(method.encode(), b"DELETE", 1) + token + b"\r\n", {405}
    yield head.replace(method.encode(), b"BREW", 1) + token + b"\r\n", {400}
    yield head.replace(b"HTTP/1.1", b"HTTP/9.9x") + b"\r\n", {400}
    yield head.replace(f" {path} ".encode(), b" /" + b"%2e%2e%2f" * 100 + b"etc/passwd ") + token + b"\r\n", {404}
    for query in QUERIES if path in LOOKING else ():
        yield head.replace(f" {path} ".encode(), f" {path}?{query} ".encode()) + token + b"\r\n", {400}
    yield head[:20], {0}


async def attack(port: int, method: str, path: str) -> list[str]:
    """All of it at once; what was answered otherwise than it should be."""
    attempts = list(hostile(method, path))
    answers = await asyncio.gather(*(raw(port, sent) for sent, _ in attempts))
    statuses = [int(answer[9:12] or 0) for answer in answers]
    return [
        f"{method} {path}: {status} for {sent[:80]!r}"
        for (sent, expected), status in zip(attempts, statuses, strict=True)
        if status not in expected
    ]


async def test_hostile_clients_are_refused_and_told_of_once_while_all_goes_on(
    http: aiohttp.ClientSession, stage: Stage, listening: Listening, receiver: Receiver
):
    await become_ready(http, receiver)
    port = (await listening.daemon.logged("http_listening"))["port"]
    paths = (await (await http.get("/openapi.json")).json())["paths"]
    named = {path: path.format(name="index.html" if "console" in path else "crm") for path in paths}
    operations = [(method.upper(), named[path]) for path in paths for method in paths[path]]
    assert {path for _, path in operations} > OPEN | LOOKING
    turns = asyncio.Semaphore(CONNECTIONS // len(list(hostile("GET", "/events"))) - 1)  # more would end the oldest

    async def attack_in_turn(method: str, path: str) -> list[str]:
        async with turns:
            return await attack(port, method, path)

    async with asyncio.TaskGroup() as tasks:
        attacks = [tasks.create_task(attack_in_turn(method, path)) for method, path in operations]
        for number in range(100):
            stage.simulator.set_disposition(AGENT, stage.chats[1], f"N{number}", "DispositionCode")
            await asyncio.sleep(0.02)
    assert [wrong for done in attacks for wrong in done.result()] == []
    await eventually(lambda: len(listening.dispositions) == len(receiver.accepted()) == 102)
    assert listening.gaps == []
    told = [entry["reason"] for entry in listening.daemon.log if entry["event"] == "http_refused"]
    assert len(told) == len(set(told)), "each reason once"
    assert {"wrong_token", "no_token", "malformed", "method", "not_found", "too_slow", "query"} <= set(told)
    assert (await http.get("/readyz")).status == 200


async def test_what_waits_for_a_person_can_be_let_go_on(http: aiohttp.ClientSession, receiver: Receiver):
    assert (await http.get("/readyz")).status == 503
    await become_ready(http, receiver)
    await eventually(lambda: [event["data"]["disposition"] for event in receiver.accepted()] == ["A", "B"])
