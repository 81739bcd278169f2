"""Refusals are counted each time and logged once in a while."""

import logging

from aiohttp.http_exceptions import BadStatusLine
from structlog.testing import capture_logs

from listener.runtime.metrics import Metrics
from listener.testing import ManualClock
from listener.web.refusals import Refusals


def test_each_reason_is_logged_once_a_minute_and_tells_what_it_kept_back():
    clock, metrics = ManualClock(), Metrics()
    refusals = Refusals(metrics=metrics, monotonic=clock.monotonic_s)
    with capture_logs() as logs:
        for _ in range(100):
            refusals.note("wrong_token", remote="192.0.2.1")
        refusals.note("not_found", remote="192.0.2.1")
        clock.advance(61)
        refusals.note("wrong_token", remote="192.0.2.2")
    assert [(line["reason"], line["more_before"], line["remote"]) for line in logs] == [
        ("wrong_token", 0, "192.0.2.1"),
        ("not_found", 0, "192.0.2.1"),
        ("wrong_token", 99, "192.0.2.2"),
    ]
    assert metrics.value("http_refused_total", "wrong_token") == 101


def test_what_aiohttp_reports_is_a_refusal_or_a_fault():
    metrics = Metrics()
    logger = Refusals(metrics=metrics).logger()
    assert logger is not logging.getLogger("http")
    with capture_logs() as logs:
        for error in (BadStatusLine("\x16\x03"), ConnectionResetError("gone"), RuntimeError("a bug")):
            try:
                raise error
            except type(error):
                logger.exception("Error handling request from %s", "192.0.2.1")
        logger.debug("Start lingering close timer for %s sec.", 2.0)
    assert [(line["log_level"], line["reason"], line["remote"]) for line in logs] == [
        ("warning", "malformed", "192.0.2.1"),
        ("error", "failed", "192.0.2.1"),
    ]
