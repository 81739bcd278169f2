"""The sink: a worker for the file, a timer, and background tasks."""

import asyncio
import errno
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import structlog

from listener.audit.notes import NoteError
from listener.audit.trail import Hooks, PartlyAppendedError, Trail
from listener.audit.unsigned import Body, Known
from listener.audit.witness import Witness
from listener.config.login import secret_of
from listener.errors import JournalError, Retry, StartError
from listener.model.event import Event
from listener.runtime.http_client import new_proxy
from listener.sinks.file.settings import FileSettings, options_of
from listener.sinks.registry import SinkContext

if TYPE_CHECKING:
    from listener.runtime.worker import Worker

_log = structlog.get_logger(__name__)
_LATER = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

P = ParamSpec("P")
T = TypeVar("T")


def _witness(context: SinkContext, settings: FileSettings) -> Witness | None:
    if settings.checkpoint_url is None:
        return None
    file = settings.proxy_password_file
    return Witness(
        sink=context.name,
        url=settings.checkpoint_url,
        proxy=new_proxy(settings.proxy, user=settings.proxy_user, password=""),
        proxy_password=partial(secret_of, context, "proxy_password", inline=None, file=file) if file else None,
    )


class FileSink:
    """Appends to a file in a worker of its own, so that the loop never waits for the disk.

    What the host refuses at `open` is a StartError that names the setting. Later it is a Retry and never a Park: once
    the folder is back, its rights are mended or the disk has room, the lane continues without a restart. Can be
    opened again after `close`.

    Args:
        context: the sink's surroundings.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: FileSettings) -> None:
        self._context = context
        self._path = context.base / settings.path
        hooks = Hooks(on_signed=self._on_signed, on_closed=self._on_closed)
        self._trail = Trail(options=options_of(context, settings), hooks=hooks, now=context.host.time_s)
        self._witness = _witness(context, settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._tidying: Worker | None = None
        self._stopping = False
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """See `ports.Sink`."""
        await self.close()
        self._loop, self._stopping = asyncio.get_running_loop(), False
        try:
            await self._run(self._trail.open)
            await self._settle()
        except NoteError as exc:
            raise StartError(f"{self._context.setting('key_file')}: {exc}") from exc
        except OSError as exc:
            if exc.errno in _LATER:
                raise Retry(self._reason(exc)) from exc
            raise StartError(self._reason(exc)) from exc
        except JournalError as exc:
            raise Retry(f"the journal cannot be compared with {self._path}: {exc}") from exc
        if self._witness is not None:
            self._witness.start()
        self._on_closed()
        self._set_timer()

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. An event that stands in the file already is not written again."""
        try:
            await self._run(self._trail.append, events)
        except OSError as exc:
            delivered = exc.delivered if isinstance(exc, PartlyAppendedError) else frozenset[int]()
            raise Retry(self._reason(exc), delivered=delivered) from exc
        if self._timer is None:
            self._set_timer()

    async def check(self) -> None:
        """See `ports.Sink`: the file, or the folder that it would be created in, can be written."""
        try:
            await asyncio.to_thread(self._trail.probe)
        except OSError as exc:
            raise Retry(self._reason(exc)) from exc

    def reopen(self) -> None:
        """Go to the file that has the path's name now, at once and not with the next event. Does not wait for it."""
        if self._worker is not None:
            self._worker.submit(self._trail.reopen).add_done_callback(self._report)

    async def close(self) -> None:
        """See `ports.Sink`. Waits for a write that is under way; compressing is left for the next time.

        The file is closed behind that write also where nobody waits so long: its lock would outlive the sink.
        """
        self._stopping = True
        self._stop_timer()
        if self._worker is None:
            return
        try:
            await asyncio.shield(self._worker.run(self._trail.close))
        finally:
            worker, self._worker = self._worker, None
            worker.shutdown(wait=False)
            tidying, self._tidying = self._tidying, None
            if tidying is not None:
                tidying.shutdown(wait=False, cancel_futures=True)
            if self._witness is not None:
                await self._witness.stop()

    async def _settle(self) -> None:
        """Let nothing be signed that the journal did not deliver. Without a journal nothing is."""
        doubtful, recall = await self._run(self._trail.doubtful), self._context.recall
        if doubtful is not None and recall is not None:
            recalled = await recall(doubtful)
            form = self._context.form
            events = {event.sequence: Body(form.body(event), len(event.data)) for event in recalled.events}
            moved = await self._run(self._trail.settle, Known(events, recalled.last))
            self._context.count("sink_quarantined_total", moved)
        await self._run(self._trail.begin)

    async def _run(self, work: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
        # One worker: what a cancelled caller began ends before the next batch begins.
        self._worker = self._worker or self._context.host.new_worker(f"sink-{self._context.name}")
        return await self._worker.run(work, *args)

    def _set_timer(self) -> None:
        """One timer for what falls due while no event comes."""
        self._stop_timer()
        due_in_s = self._trail.due_in_s()
        if due_in_s is not None and self._loop is not None and self._worker is not None:
            self._timer = self._loop.call_later(due_in_s + 0.01, self._idle)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _idle(self) -> None:
        self._timer = None
        if self._worker is not None and self._loop is not None:
            work = self._worker.run(self._trail.idle)
            work.add_done_callback(self._after_idle)

    def _after_idle(self, work: "asyncio.Future[None]") -> None:
        self._report(work)
        if not self._stopping:
            self._set_timer()

    def _report(self, work: asyncio.Future[None] | Future[None]) -> None:
        """What nobody waits for has failed: the next delivery meets the same, and says so to its lane."""
        if not work.cancelled() and (exc := work.exception()) is not None:
            reason = self._reason(exc) if isinstance(exc, OSError) else repr(exc)
            _log.warning("audit_file_maintenance_failed", sink=self._context.name, reason=reason)

    def _on_signed(self, note: str) -> None:
        """In the sink's worker."""
        if self._witness is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._witness.post, note)

    def _on_closed(self) -> None:
        """Compress and delete beside the stream, in a worker that nothing waits for."""
        if not self._stopping:
            self._tidying = self._tidying or self._context.host.new_worker(f"tidy-{self._context.name}")
            self._tidying.submit(self._trail.tidy, lambda: self._stopping)

    def _reason(self, exc: OSError) -> str:
        setting = self._context.setting("path")
        if isinstance(exc, FileNotFoundError | NotADirectoryError):
            return f"{setting}: there is no folder {self._path.parent}"
        return f"{setting}: cannot write {exc.filename or self._path}: {exc.strerror or exc}"
