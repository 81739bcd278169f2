"""The `file` sink: one line of JSON per event, each once, chained and signed: an audit trail that proves itself."""

from listener.ports import Sink
from listener.sinks.file.settings import FileSettings, problems, refusals
from listener.sinks.file.sink import FileSink
from listener.sinks.registry import SinkContext, SinkKind


def _build(context: SinkContext, settings: FileSettings) -> Sink:
    return FileSink(context=context, settings=settings)


KIND = SinkKind(name="file", settings=FileSettings, build=_build, problems=problems, refusals=refusals)
