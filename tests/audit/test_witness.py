"""Checkpoints reach whoever keeps them elsewhere, and nothing waits for it."""

import pytest
from structlog.testing import capture_logs

from listener.audit.witness import Witness
from listener.errors import Retry
from listener.runtime.backoff import Backoff
from listener.runtime.http_client import Proxy
from support.authority import Authority
from support.eventually import eventually
from support.httpproxy import HttpProxy
from support.receiver import Answer, Receiver


@pytest.fixture
async def witness(receiver: Receiver):
    made = Witness(sink="audit", url=f"{receiver.url}/checkpoints?token=secret")
    made._backoff = Backoff(first_s=0.01, limit_s=0.02, floor_s=0.0)
    made.start()
    yield made
    await made.stop(0.0)


async def test_a_note_is_posted_as_the_text_that_it_is(witness, receiver: Receiver):
    witness.post("note \u2014 1\n")
    (post,) = await receiver.received(1)
    assert (post.path, post.body.decode()) == ("/checkpoints?token=secret", "note \u2014 1\n")
    assert post.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert post.headers["User-Agent"].startswith("disposition-listener/")


async def test_the_latest_wins_once_whoever_takes_them_is_back(witness, receiver: Receiver):
    receiver.answers = Answer(status=503)
    with capture_logs() as logs:
        witness.post("1")
        await receiver.received(3)
        witness.post("2")
        witness.post("3")
        receiver.answers = Answer()
        await eventually(lambda: any(post.status == 200 for post in receiver.posts))
        taken = [post.body for post in receiver.posts if post.status == 200]
        await eventually(lambda: witness._failures == 0)
    assert taken[-1:] in ([b"3"], [b"1"])
    await eventually(lambda: receiver.posts[-1].body == b"3")
    assert b"2" not in {post.body for post in receiver.posts}
    assert [entry["event"] for entry in logs] == ["audit_checkpoint_not_posted", "audit_checkpoint_posted"]
    assert "secret" not in str(logs)


async def test_a_redirect_is_not_followed(witness, receiver: Receiver):
    receiver.script(Answer(status=307, headers={"Location": f"{receiver.url}/elsewhere"}))
    witness.post("1")
    posts = await receiver.received(2)
    assert {post.path for post in posts} == {"/checkpoints?token=secret"}


async def test_a_proxy_is_gone_through_with_the_password_of_the_moment(receiver: Receiver):
    passwords = iter([Retry("sinks.audit.proxy_password_file: x is empty"), "wrong", "secret"])

    async def password() -> str:
        if isinstance(one := next(passwords), Retry):
            raise one
        return one

    async with HttpProxy(login="listener:secret") as proxy:
        made = Witness(
            sink="audit",
            url=f"{receiver.url}/keep",
            proxy=Proxy(proxy.url, user="listener"),
            proxy_password=password,
        )
        made._backoff = Backoff(first_s=0.01, limit_s=0.02, floor_s=0.0)
        made.start()
        with capture_logs() as logs:
            made.post("1")
            (post,) = await receiver.received(1)
            await eventually(lambda: len(logs) == 2)  # the answer is on its way
            await made.stop()
    assert (post.path, post.body) == ("/keep", b"1")
    assert [asked.target for asked in proxy.asked][-1:] == [f"{receiver.url}/keep"]
    assert [entry.get("reason") or entry["failures"] for entry in logs] == [
        "sinks.audit.proxy_password_file: x is empty",
        2,
    ]


async def test_a_certificate_that_the_host_does_not_know_names_no_setting_that_there_is_not(tmp_path):
    async with Receiver(tls=Authority(tmp_path).server()) as receiver:
        made = Witness(sink="audit", url=receiver.url)
        made.start()
        with capture_logs() as logs:
            made.post("1")
            await made.stop()
    (entry,) = logs
    assert entry["reason"].endswith("is not trusted (self-signed certificate in certificate chain) on this host")


async def test_nobody_there_is_told_and_ends_nothing(receiver: Receiver):
    await receiver.stop()
    made = Witness(sink="audit", url=receiver.url)
    made.start()
    with capture_logs() as logs:
        made.post("1")
        await made.stop()
    assert [entry["event"] for entry in logs] == ["audit_checkpoint_not_posted"]


async def test_the_last_note_still_gets_there_at_the_end(witness, receiver: Receiver):
    witness.post("last")
    await witness.stop()
    assert [post.body for post in receiver.posts] == [b"last"]
    await witness.stop()
