"""What reaches the transports through aiocometd's `auth` argument."""

from aiocometd.extensions import AuthExtension

from listener.cometd.engine import Engine
from listener.cometd.link import Link
from listener.cometd.protocol import Session
from listener.runtime.host import Host
from listener.testing import ManualClock
from support.bareserver import new_http


async def test_a_link_is_what_aiocometd_hands_to_transports_and_carries_what_every_post_needs():
    tokens = iter("ab")
    logins: list[str] = []

    async def login() -> None:
        logins.append("in")

    engine = Engine(
        session=Session(topics=[], connection_type="long-polling"), host=Host(clock=ManualClock()), login=login
    )
    async with new_http() as http:
        link = Link(engine=engine, http=http, headers=lambda: {"X-CSRF-TOKEN": next(tokens)})
        assert isinstance(link, AuthExtension)
        for token in "ab":
            headers = {"Content-Type": "x"}
            await link.outgoing([], headers)
            assert headers == {"Content-Type": "x", "X-CSRF-TOKEN": token}
        payload = [{"id": "1"}]
        await link.incoming(payload)
        assert payload == [{"id": "1"}]
        await link.authenticate()
        assert logins == ["in"]
