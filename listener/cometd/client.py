"""The CometD client that the listener uses: aiocometd's Client, handing out facts instead of single messages."""

import asyncio
from collections.abc import AsyncGenerator
from typing import NoReturn

from aiocometd.client import Client
from aiocometd.constants import ConnectionType
from aiocometd.exceptions import ClientInvalidOperation

# Importing them registers them in place of aiocometd's own.
from listener.cometd import longpolling, websocket
from listener.cometd.facts import Fact
from listener.cometd.in_flight import Take, takes_nothing
from listener.cometd.transport import Link
from listener.runtime.clock import Moment

SILENCE_S = 120.0
_WAITS_SHARE = 1 / 4  # of the time that the server keeps a session without a poll
TRANSPORTS = (longpolling.LongPollingTransport, websocket.WebsocketTransport)


class BatchClient(Client):
    """One account's CometD client.

    Of aiocometd 0.4.5 only public names are used: `Client`, its `open`, `close` and `subscribe`, `AuthExtension`,
    `Transport`, `register_transport`, the constants and the exceptions. `receive` is replaced: as released it cannot
    run on Python 3.10 or later, and it hands out single messages that nothing could acknowledge.
    """

    def __init__(self, *, url: str, link: Link) -> None:
        super().__init__(
            url,
            [ConnectionType(link.engine.session.connection_type)],
            auth=link,
            loop=asyncio.get_running_loop(),
        )
        self.link = link

    async def run(self, *, disconnect: bool = False) -> None:
        """Open, and keep the session alive until cancelled.

        Args:
            disconnect: tell the server at the end that the session is over. Otherwise the next process can continue it.
        """
        is_open = False
        try:
            # Opened by a client that is gone then: aiocometd's has a queue, of 3 KB, that nothing is ever put into.
            await BatchClient(url=self.url, link=self.link).open()
            is_open = True
            await self.link.others_first.within(self.link.engine.session.lifetime_s * _WAITS_SHARE)
            if self.link.transport is not None:
                await self.link.transport.poll()
        finally:
            if self.link.transport is not None:
                if disconnect and is_open:
                    await self.link.transport.disconnect()
                await self.link.transport.close()

    async def facts(self, take: Take = takes_nothing) -> AsyncGenerator[Fact, None]:
        """What happens, in order; ends with the caller. Cancelling loses nothing.

        The answer of a poll that no fact waits before is offered to `take` first, in the step in which it came.
        """
        engine = self.link.engine
        engine.offer(take)
        try:
            while True:
                yield await engine.next_fact()
        finally:
            engine.offer(takes_nothing)

    def pending(self) -> bool:
        """Whether facts wait to be taken."""
        return self.link.engine.pending()

    async def end_polling(self) -> None:
        """Stop polling cleanly; the last fact is `PollingEnded`."""
        await self.link.engine.end_polling()

    def rehandshake(self) -> None:
        """Do a new handshake although polls succeed."""
        self.link.engine.rehandshake()

    async def subscribe_again(self) -> Moment | None:
        """Subscribe again in the living session; when that was asked for, None if it was not granted."""
        return await self.link.engine.subscribe_again()

    def pause_s(self) -> float:
        """How long what the server has may wait for the next poll."""
        return self.link.engine.pacing.last_s

    def max_silence_s(self) -> float:
        """How long a healthy session may report nothing: a held poll and a pause, with margins."""
        session = self.link.engine.session
        return session.timeout_ms / 1000 + session.interval_ms / 1000 + self.link.margin_s + SILENCE_S

    async def receive(self) -> NoReturn:
        """Not offered: raises ClientInvalidOperation."""
        raise ClientInvalidOperation("single messages cannot be confirmed: use facts()")
