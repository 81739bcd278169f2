"""What a connection tells of its bytes, against receivers that behave in every way."""

import asyncio
import contextlib
import socket
import ssl
import threading

import pytest

from listener.sinks.syslog.connection import Connection
from support.eventually import eventually
from support.syslogd import read_all, read_all_and_say_goodbye

DATA = b"x" * 100_000


@pytest.fixture
def trusting(authority):
    return ssl.create_default_context(cafile=str(authority.ca_file))


def close_at_once(connection):
    pass


def read_a_part(connection):
    connection.recv(10)


async def sent_and_finished(address, tls=None):
    with contextlib.closing(await Connection.to(address, tls)) as connection:
        await connection.send(DATA)
        return await connection.finish()


async def test_the_end_of_a_receiver_that_read_all_confirms_it(serve):
    assert not await sent_and_finished(serve(read_all))


async def test_over_tls_it_is_told_whether_the_receiver_said_goodbye(serve, authority, trusting):
    assert await sent_and_finished(serve(read_all_and_say_goodbye, authority.server()), trusting)
    assert not await sent_and_finished(serve(read_all, authority.server("curt")), trusting)


@pytest.mark.parametrize("behave", [close_at_once, read_a_part])
@pytest.mark.parametrize("secured", [False, True])
async def test_a_receiver_that_closes_too_soon_confirms_nothing(serve, authority, trusting, behave, secured):
    address = serve(behave, authority.server() if secured else None)
    for _ in range(5):
        with pytest.raises(OSError, match=r"reset|pipe|closed|not connected"):
            await sent_and_finished(address, trusting if secured else None)


async def test_an_end_that_comes_before_everything_was_acknowledged_confirms_nothing(serve):
    """It cannot be the answer to ours."""
    let_go = threading.Event()

    def end_without_reading(connection):
        connection.shutdown(socket.SHUT_WR)
        let_go.wait(10)

    with contextlib.closing(await Connection.to(serve(end_without_reading), None)) as connection:
        await connection.send(b"x" * 1_000_000)  # more than its host takes for it
        with pytest.raises(ConnectionResetError, match="before it had everything"):
            await connection.finish()
    let_go.set()


async def test_a_refusal_behind_the_handshake_is_told_whatever_was_written_meanwhile(serve, authority, trusting):
    address = serve(read_all, authority.server(wants_client=True))
    for _ in range(5):
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            await sent_and_finished(address, trusting)


async def test_a_certificate_that_is_not_trusted_ends_the_handshake(serve, authority):
    address = serve(read_all, authority.server())
    with pytest.raises(ssl.SSLCertVerificationError):
        await Connection.to(address, ssl.create_default_context())


async def test_bytes_are_settled_once_the_host_has_them_and_the_end_is_noticed(serve):
    let_go = threading.Event()
    address = serve(lambda _connection: let_go.wait(10))
    with contextlib.closing(await Connection.to(address, None)) as connection:
        await connection.send(b"x" * 100)
        await connection.settle()
        assert not connection.ended
        let_go.set()
        await eventually(lambda: connection.ended)


async def test_closing_ends_what_waits_for_the_receiver(serve):
    let_go = threading.Event()
    connection = await Connection.to(serve(lambda _connection: let_go.wait(10)), None)
    waiting = asyncio.ensure_future(connection.finish())
    await asyncio.sleep(0.01)
    connection.close()
    connection.close()
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionAbortedError, match="closed meanwhile"):
            await waiting
    let_go.set()


async def test_nobody_there_is_an_error(serve):
    with pytest.raises(OSError, match="Connect"):
        await Connection.to(("127.0.0.1", 1), None)
