"""Debian's chromium, driven by playwright, and axe-core for what it shows."""

import shutil
from importlib.util import find_spec
from typing import Any, Self

from support.bayeux import SERVERS
from support.tools import lacking, need

AXE = SERVERS / "node_modules" / "axe-core" / "axe.min.js"
_SIZE = {"width": 1280, "height": 900}


class Browser:
    """As a context manager it runs. Pages that are put back are lent again: a new one takes a second."""

    def __init__(self) -> None:
        self._free: dict[str, list[Any]] = {}

    async def __aenter__(self) -> Self:
        if find_spec("playwright") is None:
            lacking("playwright is not installed (extra `test`)")
        # The one without windows draws the same for three quarters of the CPU time.
        chromium = need("chromium-headless-shell", "chromium", package="chromium-headless-shell")
        from playwright.async_api import async_playwright  # noqa: PLC0415 - only where it is installed

        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(executable_path=chromium)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._browser.close()
        await self._playwright.stop()

    async def page(self, **options: Any) -> Any:
        """A page with a profile of its own, empty; options are those of playwright's `new_context`."""
        free = self._free.setdefault(repr(options), [])
        if free:
            return free.pop()
        context = await self._browser.new_context(**{"viewport": _SIZE, "reduced_motion": "reduce", **options})
        context.set_default_timeout(30_000)
        return await context.new_page()

    async def put_back(self, page: Any, **options: Any) -> None:
        """Take back a page that was lent with these options, and forget what it has seen."""
        await page.unroute_all()
        await page.evaluate("sessionStorage.clear()")
        await page.goto("about:blank")
        await page.context.clear_cookies()
        await page.set_viewport_size(options.get("viewport", _SIZE))
        self._free[repr(options)].append(page)


async def barriers(page: Any) -> list[str]:
    """What axe-core finds that is serious or critical; the test is skipped, or fails, where it is not installed."""
    if not AXE.exists():
        lacking(
            "axe-core is not installed: npm ci --prefix tests/interop/servers"
            if shutil.which("npm")
            else "npm is not installed (Debian: apt-get install npm), and so axe-core is not"
        )
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE.read_text(encoding="utf-8"))  # not as an element: the page's policy forbids that
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {node['target']}: {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]
