"""The console: what stands behind the page, and the page as its readers see it."""

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from listener.simulator import Simulator, SimulatorOptions
from support.eventually import PATIENCE_S, eventually
from support.fleet import Fleet
from support.listening import Listening
from support.pages import TOKEN
from support.receiver import Receiver

KEYS = ["DispositionCode", "Outcome"]
TOKEN_KEY = "disposition-listener.token"
AGENTS = ("agent1", "agent2")
_LOOK_S = 0.08  # each look goes through three processes
_TOLD = re.compile(r"/(summary\.json|accounts\.json|dead-letters[./]|sinks/)")  # what a fleet answers
_AWAY = "Failed to load resource: "
_BEGIN_ANEW = """async (number) => {
    document.getElementById("history").close();
    if (document.getElementById("pause").ariaPressed === "true") document.getElementById("pause").click();
    document.getElementById("codes-details").open = false;
    const there = new Promise((done) => addEventListener("hashchange", done, {once: true}));
    location.hash = `#/events?all=1&anew=${number}`;
    await there;
    document.getElementById("scroller").scrollTop = 0;
    document.activeElement.blur();
}"""
EVENTS = "#/events?all=1"
_ROWS = """(rows) => rows.map((row) => Object.fromEntries([
    ["seq", Number(row.dataset.seq)], ["index", Number(row.getAttribute("aria-rowindex"))], ["kind", row.className],
    ...[...row.cells].map((cell) => [cell.classList[0], cell.innerText.trim()]),
]))"""


class Site:
    """A daemon with its console, a simulated server before it, and a webhook receiver behind it.

    Args:
        folder: where the daemon has its files.
        token: the one that it asks for; None for a daemon without.
        more: further tables of its configuration.
    """

    def __init__(self, folder: Path, *, token: str | None = TOKEN, **more: Any) -> None:
        self.folder = folder
        self.token = token
        self.simulator = Simulator(SimulatorOptions(agents=2, ack=True, timeout_ms=1000, max_interval_ms=60_000))
        self.receiver = Receiver()
        self.url = ""
        self._more = more
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        simulator = await self._stack.enter_async_context(self.simulator)
        await self._stack.enter_async_context(self.receiver)
        password = simulator.options.password
        accounts = [{"username": agent, "password": password} for agent in AGENTS]
        self.listening = await self._stack.enter_async_context(
            Listening(
                self.folder,
                server={"url": simulator.url, "poll_margin_s": 1.0, "connect_timeout_s": 2.0},
                webhook=self.receiver.url,
                accounts=accounts,
                **{"sinks": {"crm": {"retry_limit_s": 0.2}}, "disposition": {"participants": "all"}} | self._more,
            )
        )
        if self.token is not None:
            (self.folder / "http.token").write_text(f"{self.token}\n", encoding="utf-8")
            self._configure('["http"]', '["http"]\ntoken_file = "http.token"')
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def _configure(self, old: str, new: str) -> None:
        config = self.folder / "listener.toml"
        config.write_text(config.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    async def start(self) -> None:
        """The daemon, subscribed for every agent; at each start on the same port."""
        await self.listening.start()
        await eventually(lambda: all(self.simulator.polling(agent) for agent in AGENTS))
        port = (await self.listening.daemon.logged("http_listening"))["port"]
        self._configure("127.0.0.1:0", f"127.0.0.1:{port}")
        self.url = f"http://127.0.0.1:{port}"

    def chat(self, chat_id: str, *agents: str, **user_data: Any) -> str:
        """A chat of these agents, of agent1 if none are named."""
        self.simulator.add_chat(chat_id, agents or ("agent1",), user_data=user_data)
        return chat_id

    def set(self, chat: str, *codes: str, agent: str = "agent1", key: str = KEYS[0]) -> None:
        """Set these dispositions, one behind the other; an empty one clears."""
        for code in codes:
            self.simulator.set_disposition(agent, chat, code, key)

    async def recorded(self, chat: str, count: int) -> list[dict[str, Any]]:
        """The chat's events, once there are so many in the audit file."""

        def there() -> list[dict[str, Any]]:
            found = [event for event in self.listening.dispositions if event["subject"] == chat]
            return found if len(found) >= count else []

        return await eventually(there, interval_s=0.1)


class Reader:
    """Somebody who looks at the console. Remembers what the browser complains about.

    Attributes:
        page: playwright's page.
        fleet: answers in the daemon's place what it knows of, where one is given to `open`.
        complaints: console errors, uncaught exceptions, violations of the content security policy.
        requests: every request of the page.
        refusals: how many requests were refused, or got no answer; the browser tells of each.

    Args:
        site: what is looked at.
        page: of `Browser.page`.
        through: the URL of a link that leads there.
    """

    def __init__(self, site: Site, page: Any, *, through: str | None = None) -> None:
        self.site = site
        self.page = page
        self.url = through or site.url
        self.complaints: list[str] = []
        self.requests: list[Any] = []
        self.refusals = 0
        self.fleet: Fleet | None = None
        self._beginnings = 0
        self._ears = {"console": self._heard, "pageerror": self._failed, "request": self._asked}

    async def open(
        self, *, shown: str | None = TOKEN, fragment: str = EVENTS, ready: bool = True, fleet: Fleet | None = None
    ) -> Self:
        """Open the page, with the token in its place, and wait until it is live."""
        if fleet is not None:
            self.fleet = fleet
            await self.page.route(_TOLD, self._answer)
        if shown is not None and self.site.token is not None:
            await self.page.goto(f"{self.url}/console/icon.svg")
            await self.page.evaluate(f"sessionStorage.setItem('{TOKEN_KEY}', '{shown}')")
        for event, ear in self._ears.items():
            self.page.on(event, ear)
        await self.page.goto(f"{self.url}/{fragment}")
        if ready:
            await self.says("#connection-word", "Live")
        return self

    async def _answer(self, route: Any) -> None:
        url = urlsplit(route.request.url)
        if route.request.method == "POST":
            await route.fulfill(json=self.fleet.order(url.path, route.request.post_data_json))
        else:
            await route.fulfill(json=self.fleet.answer(url.path, dict(parse_qsl(url.query))))

    async def go(self, fragment: str) -> None:
        """Follow a link within the page."""
        await self.page.evaluate("(hash) => { location.hash = hash }", fragment)

    def leave(self) -> None:
        """Listen no more."""
        for event, ear in self._ears.items():
            self.page.remove_listener(event, ear)

    def _failed(self, error: Any) -> None:
        self.complaints.append(str(error))

    def _asked(self, request: Any) -> None:
        self.requests.append(request)

    async def begin_anew(self) -> None:
        """Leave whatever a test was in: a dialogue, a search, a pause, filters, a place further down."""
        self.requests.clear()
        self._beginnings += 1
        await self.page.evaluate(_BEGIN_ANEW, self._beginnings)

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            if message.text.startswith(_AWAY):  # what the server refused, or an answer that never came
                self.refusals += 1
            else:
                self.complaints.append(message.text)

    async def says(self, selector: str, text: str, *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until an element's visible text has this in it."""

        async def told() -> bool:
            return text in await self.text(selector)

        await eventually(told, timeout_s=timeout_s, interval_s=_LOOK_S, what=f"{selector} says {text!r}")

    async def text(self, selector: str) -> str:
        return await self.page.locator(selector).inner_text()

    async def drawn(self) -> None:
        """Wait for two frames: behind them the page has done what scrolling and resizing lead to."""
        await self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def resize(self, width: int, height: int = 740) -> None:
        await self.page.set_viewport_size({"width": width, "height": height})
        await self.drawn()

    async def rows(self) -> list[dict[str, Any]]:
        """The rows of the live table that are drawn, from the top."""
        return await self.page.locator("#rows tbody tr:not(.spacer)").evaluate_all(_ROWS)

    async def shows(self, *codes: str) -> list[dict[str, Any]]:
        """The rows, once their codes, from the top, are `previous → code` as told here."""

        async def there() -> list[dict[str, Any]]:
            rows = await self.rows()
            return rows if [row.get("code") for row in rows] == list(codes) else []

        return await eventually(there, interval_s=_LOOK_S, what=lambda: f"rows {codes}")

    async def filter(self, **texts: str) -> None:
        for name, text in texts.items():
            await self.page.fill(f"#filter-{name}", text)

    async def count(self) -> int:
        """How many rows the table says that it has."""
        return int(await self.page.locator("#rows").get_attribute("aria-rowcount")) - 1

    async def counts(self, number: int, *, timeout_s: float = PATIENCE_S) -> None:
        """Wait until the table has so many rows."""

        async def there() -> bool:
            return await self.count() == number

        await eventually(there, timeout_s=timeout_s, interval_s=_LOOK_S, what=f"{number} rows")

    async def cells(self, table: str) -> list[list[str]]:
        """What the cells of a small table say, row by row."""
        script = "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
        return await self.page.locator(f"{table} tbody tr").evaluate_all(script)

    async def focused(self) -> str:
        """The text of what has the focus, with its id in front where it has one."""
        return await self.page.evaluate(
            "(({id, textContent}) => `${id && `#${id} `}${textContent.trim().slice(0, 60)}`)(document.activeElement)"
        )

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.page.keyboard.press(key)

    async def overflow(self, element: str) -> int:
        """By how many pixels what is in an element is wider than it."""
        return await self.page.evaluate(f"{element}.scrollWidth - {element}.clientWidth")


def column(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    """What the rows say in one column."""
    return [row.get(name) for row in rows]
