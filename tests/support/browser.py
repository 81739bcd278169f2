"""A hand-made client: what goes over the wire is written out, so that no client library hides it."""

import asyncio
import json
from base64 import b64encode
from time import monotonic

CHAT = "0000Na9B26EF003M"
CHAT_PATH = f"/api/v2/me/chats/{CHAT}"
PASSWORD = "secret"
SET_DISPOSITION = {
    "operationName": "SetDisposition",
    "dispositionKey": "DispositionCode",
    "disposition": "IssueResolved",
}


def basic(user, password=PASSWORD):
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


class Browser:
    """One cookie jar with one user, and what it knows of its CometD session."""

    def __init__(self, sim, http, user):
        self.sim = sim
        self.http = http
        self.user = user
        self.headers = {}
        self.client_id = None
        self.ids = 0

    async def get(self, path, headers=None):
        async with self.http.get(self.sim.url + path, headers=headers) as response:
            return response, await response.read()

    async def post(self, path, body=None, *, data=None, headers=None):
        async with self.http.post(
            self.sim.url + path, json=body, data=data, headers={**self.headers, **(headers or {})}
        ) as response:
            return response, await response.read()

    async def login(self):
        response, body = await self.get("/api/v2/me", headers=basic(self.user))
        assert response.status == 200
        if "X-CSRF-HEADER" in response.headers:
            self.headers[response.headers["X-CSRF-HEADER"]] = response.headers["X-CSRF-TOKEN"]
        return json.loads(body)

    async def bayeux(self, *messages, path="/api/v2/notifications"):
        response, body = await self.post(path, list(messages))
        assert response.status == 200, (response.status, body)
        return json.loads(body)

    def message(self, channel, **members):
        self.ids += 1
        return {"channel": channel, "id": str(self.ids), "clientId": self.client_id, **members}

    async def handshake(self, **members):
        message = self.message("/meta/handshake", version="1.0", supportedConnectionTypes=["long-polling"], **members)
        del message["clientId"]
        (reply,) = await self.bayeux(message)
        self.client_id = reply.get("clientId")
        return reply

    async def subscribe(self, channel="/v2/me/chats"):
        return await self.bayeux(self.message("/meta/subscribe", subscription=channel))

    async def connect(self, *, timeout_ms=None, ack=None):
        advice = {} if timeout_ms is None else {"advice": {"timeout": timeout_ms}}
        ext = {} if ack is None else {"ext": {"ack": ack}}
        return await self.bayeux(self.message("/meta/connect", connectionType="long-polling", **advice, **ext))

    async def listen(self, *, ack=False, channel="/v2/me/chats"):
        """Log in, handshake, subscribe, first connect: from here on polls are held."""
        await self.login()
        await self.handshake(**({"ext": {"ack": True}} if ack else {}))
        await self.subscribe(channel)
        return await self.connect(timeout_ms=0, ack=0 if ack else None)

    async def polling(self, **connect):
        """A poll that the server holds now; awaiting the task brings its answer."""
        task = asyncio.create_task(self.connect(**connect), name="poll")
        await until(lambda: self.held() or task.done())
        return task

    def held(self):
        return any(s["clientId"] == self.client_id and s["held"] for s in self.sim.state()["sessions"])


async def until(claim, limit_s=5.0):
    """Wait until the claim holds."""
    end = monotonic() + limit_s
    while not claim():
        assert monotonic() < end, "it never came true"
        await asyncio.sleep(0.002)


def events(messages):
    """The data of the events among these messages."""
    return [message["data"] for message in messages if not message["channel"].startswith("/meta/")]
