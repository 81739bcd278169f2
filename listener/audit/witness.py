"""Posts signed checkpoints of an audit file to a place where whoever can change the file cannot change them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import ClientError, ClientSession, hdrs
from yarl import URL

from listener import __version__
from listener.errors import Retry
from listener.runtime.backoff import Backoff
from listener.runtime.http_client import Connector, Proxy, bare, describe, new_session
from listener.runtime.urls import told

_log = structlog.get_logger(__name__)
_TIMEOUT_S = 10.0
_TELL_EVERY = 100  # failures in a row


class Witness:
    """One task that posts the latest note; an older one that it could not post is left out, for the later covers it.

    Nothing waits for it. A note that is not taken (2xx) is brought again with growing pauses. TLS is verified, and
    redirects are not followed.

    Args:
        sink: the sink's name, for the log.
        url: where to, as it was configured.
        proxy: what it goes through.
        proxy_password: of this moment, for a user of the proxy. Raises Retry.
    """

    def __init__(
        self,
        *,
        sink: str,
        url: str,
        proxy: Proxy | None = None,
        proxy_password: Callable[[], Awaitable[str | None]] | None = None,
    ) -> None:
        self._sink = sink
        self._proxy = proxy
        self._proxy_password = proxy_password
        self._url = URL(url, encoded=url.isascii())
        self._place = told(self._url)
        self._latest = ""
        self._news = asyncio.Event()
        self._tried = asyncio.Event()
        self._tried.set()
        self._backoff = Backoff(first_s=1.0, limit_s=300.0)
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._task = asyncio.create_task(self._run(), name=f"witness {self._sink}")

    async def stop(self, patience_s: float = 2.0) -> None:
        """Give the last note a moment to get there, and end. Idempotent."""
        task, self._task = self._task, None
        if task is None:
            return
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._tried.wait()
        finally:
            task.cancel()
            await asyncio.wait((task,))

    def post(self, note: str) -> None:
        """Post this note as soon as possible. To be called on the loop."""
        self._latest = note
        self._news.set()
        self._tried.clear()

    async def _run(self) -> None:
        async with new_session(
            Connector(limit=1, proxy=self._proxy),
            timeout_s=_TIMEOUT_S,
            headers={hdrs.USER_AGENT: f"disposition-listener/{__version__}"},
        ) as session:
            while True:
                await self._news.wait()
                self._news.clear()
                note = self._latest
                problem = await self._post(session, note)
                if self._latest is note:
                    self._tried.set()
                if problem is None:
                    self._succeeded()
                else:
                    self._report(problem)
                    await asyncio.sleep(self._backoff.next())
                    self._news.set()

    async def _post(self, session: ClientSession, note: str) -> str | None:
        """What went wrong; None if it was taken."""
        headers = {hdrs.CONTENT_TYPE: "text/plain; charset=utf-8"}
        try:
            if self._proxy is not None and self._proxy_password is not None:
                self._proxy.set_password(await self._proxy_password() or "")
            async with session.post(self._url, data=note.encode(), headers=headers, allow_redirects=False) as response:
                return None if response.status in range(200, 300) else f"it answered {response.status}"
        except TimeoutError:
            return f"no answer within {_TIMEOUT_S:g} s"
        except Retry as exc:
            return str(exc)
        except (ClientError, OSError) as exc:
            table = f"sinks.{self._sink}"
            return describe(bare(exc), peer=self._place, table=table, url_key="checkpoint_url", ca_key=None)

    def _report(self, problem: str) -> None:
        if self._failures % _TELL_EVERY == 0:
            _log.warning("audit_checkpoint_not_posted", sink=self._sink, place=self._place, reason=problem)
        self._failures += 1

    def _succeeded(self) -> None:
        if self._failures:
            _log.info("audit_checkpoint_posted", sink=self._sink, failures=self._failures)
        self._failures = 0
        self._backoff.reset()
