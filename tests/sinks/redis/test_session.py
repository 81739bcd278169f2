import pytest
from redis.exceptions import AuthenticationError, RedisError, ResponseError

from listener.sinks.redis.session import connect
from listener.sinks.redis.settings import RedisSettings
from listener.sinks.registry import SinkContext


@pytest.fixture
def context(tmp_path):
    return SinkContext(name="bus", base=tmp_path)


async def test_answers_come_in_the_order_of_the_commands_and_errors_are_answers(context, server):
    settings = RedisSettings(url=f"{server.address}/1")
    session = await connect(context, settings, settings.address)
    *answers, error, last = await session.ask(("SET", "a", b"\x00"), ("GET", "a"), ("INCR", "a"), ("ECHO", "end"))
    await session.close()
    assert answers == [b"OK", b"\x00"]
    assert isinstance(error, ResponseError)
    assert last == b"end"


async def test_a_connection_that_ended_is_an_error_and_not_made_anew(context, server):
    settings = RedisSettings(url=server.address)
    session = await connect(context, settings, settings.address)
    async with server.outage():
        with pytest.raises(RedisError):
            await session.ask(("PING",))
    await session.close()
    await session.close()


async def test_each_connection_logs_in_with_the_password_of_its_moment(context, start_redis, tmp_path):
    server = start_redis(user="listener on >second ~* +@all")
    settings = RedisSettings(url=server.address, username="listener", password_file="pass")
    (tmp_path / "pass").write_text("first\n", encoding="utf-8")
    with pytest.raises(AuthenticationError):
        await connect(context, settings, settings.address)
    (tmp_path / "pass").write_text("second\n", encoding="utf-8")
    session = await connect(context, settings, settings.address)
    assert await session.ask(("ACL", "WHOAMI")) == [b"listener"]
    await session.close()
