from pathlib import Path

from structlog.testing import capture_logs

from listener.sinks.durability import report_durability
from listener.sinks.registry import SinkContext

CONTEXT = SinkContext(name="bus", base=Path())


def test_a_destination_that_keeps_what_it_acknowledges_is_told_in_one_line():
    with capture_logs() as logs:
        report_durability(CONTEXT, destination="stream DISPOSITIONS", replicas=3)
    assert logs == [
        {
            "event": "sink_durability",
            "log_level": "info",
            "sink": "bus",
            "destination": "stream DISPOSITIONS",
            "replicas": 3,
        }
    ]


def test_what_can_be_lost_there_is_a_warning():
    with capture_logs() as logs:
        report_durability(
            CONTEXT, destination="stream DISPOSITIONS", risks=("one replica: its disk is the only copy",), replicas=1
        )
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("sink_durability_weak", "warning")
    assert line["risks"] == ["one replica: its disk is the only copy"]
