"""The receiver records whole requests and answers as told."""

import asyncio

import aiohttp
import pytest

from support.receiver import Answer, Receiver


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_answers_follow_the_script_and_then_the_rule(receiver: Receiver, http: aiohttp.ClientSession):
    receiver.script(Answer(status=503, headers={"Retry-After": "2"}), Answer(status=401))
    answers = [await http.post(f"{receiver.url}/hook?a=1", json={"n": n}) for n in range(3)]
    assert [answer.status for answer in answers] == [503, 401, 200]
    assert answers[0].headers["Retry-After"] == "2"
    assert [post.json for post in await receiver.received(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert receiver.accepted() == [{"n": 2}]
    assert receiver.posts[0].path == "/hook?a=1"


async def test_an_aborted_answer_was_recorded(receiver: Receiver, http: aiohttp.ClientSession):
    receiver.script(Answer(abort=True))
    with pytest.raises(aiohttp.ClientError):
        await http.post(receiver.url, json={})
    assert len(receiver.posts) == 1


async def test_it_knows_how_many_came_at_once(receiver: Receiver, http: aiohttp.ClientSession):
    receiver.answers = Answer(delay_s=0.1)
    await asyncio.gather(*(http.post(receiver.url, json={}) for _ in range(3)))
    assert receiver.most_at_once == 3


async def test_it_can_go_away_and_come_back(receiver: Receiver, http: aiohttp.ClientSession):
    port = receiver.port
    await receiver.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.post(receiver.url, json={})
    await receiver.start()
    assert receiver.port == port
    assert (await http.post(receiver.url, json={})).status == 200


async def test_a_judge_may_answer_by_what_a_request_holds(receiver: Receiver, http: aiohttp.ClientSession):
    receiver.judge = lambda body: Answer(status=422) if body["n"] == 1 else None
    answers = [await http.post(receiver.url, json={"n": n}) for n in range(3)]
    assert [answer.status for answer in answers] == [200, 422, 200]
