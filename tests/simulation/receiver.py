"""The receiver of the webhook: takes events, and may fail, hang, ask for odd pauses, or forget what it has seen."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from simulation.evidence import Evidence, Posted
from simulation.loop import Loop
from simulation.schedule import ReceiverAnswers

PORT = 8081


class Receiver:
    """A server that keeps what it has answered with success.

    Attributes:
        trouble: what it answers instead, None while it is well.
        hangs: whether it answers at all.
        chokes_on: the id of an event that it cannot take; empty for the next that comes, None while it takes all.
    """

    def __init__(self, loop: Loop, evidence: Evidence) -> None:
        self.trouble: ReceiverAnswers | None = None
        self.hangs = False
        self.chokes_on: str | None = None
        self._loop = loop
        self.evidence = evidence
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Open the port."""
        app = web.Application()
        app.router.add_post("/events", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "0.0.0.0", PORT).start()

    def heal(self) -> None:
        """Nothing goes wrong any more."""
        self.trouble, self.hangs, self.chokes_on = None, False, None

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        trouble = self.trouble
        if trouble is not None:
            headers = {} if trouble.retry_after is None else {"Retry-After": trouble.retry_after}
            return web.Response(status=trouble.status, headers=headers, text="not now")
        decoded: Any = msgspec.json.decode(body)
        events = decoded if isinstance(decoded, list) else [decoded]
        if self.chokes_on == "":
            self.chokes_on = events[-1]["id"]
        if any(event["id"] == self.chokes_on for event in events):
            return web.Response(status=500, text="of no use")
        for event in events:
            self.evidence.posted.append(Posted(at=self._loop.now_s, id=event["id"], body=event))
        while self.hangs:  # noqa: ASYNC110 - as coarse as the patience of who waits
            await asyncio.sleep(0.5)
        return web.Response(status=204)
