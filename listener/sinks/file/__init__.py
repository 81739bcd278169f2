"""The `file` sink: one line of JSON per event, each once, chained and signed: an audit trail that proves itself."""

from listener.audit.newest import newest_event
from listener.ports import Sink
from listener.sinks.file.settings import FileSettings, options_of, problems, refusals
from listener.sinks.file.sink import FileSink
from listener.sinks.registry import SinkContext, SinkKind


def _build(context: SinkContext, settings: FileSettings) -> Sink:
    return FileSink(context=context, settings=settings)


def _newest(context: SinkContext, settings: FileSettings) -> tuple[int, int] | None:
    options = options_of(context, settings)
    return newest_event(options.path) if options.recall else None


KIND = SinkKind(
    name="file",
    settings=FileSettings,
    build=_build,
    holds_once=True,
    pinned=True,
    problems=problems,
    refusals=refusals,
    newest=_newest,
)
