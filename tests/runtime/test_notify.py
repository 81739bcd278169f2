import os

import pytest
from structlog.testing import capture_logs

from listener.runtime.notify import Notifier
from support.notified import Notified


@pytest.fixture
def systemd(tmp_path):
    with Notified(tmp_path / "notify") as receiving:
        yield receiving


def test_what_is_told_arrives_as_one_datagram_each(systemd):
    notifier = Notifier({"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "3000000"})
    notifier.starting("logging in", more_s=1.5)
    notifier.ready("running")
    notifier.alive()
    notifier.reloading()
    notifier.status("two\nlines")
    notifier.stopping()
    first, ready, alive, reloading, status, stopping = systemd.messages
    assert first == {"EXTEND_TIMEOUT_USEC": "1500000", "STATUS": "logging in"}
    assert ready == {"READY": "1", "STATUS": "running"}
    assert alive == {"WATCHDOG": "1"}
    assert reloading["RELOADING"] == "1"
    assert int(reloading["MONOTONIC_USEC"]) > 0
    assert status == {"STATUS": "two lines"}
    assert stopping["STOPPING"] == "1"


def test_an_abstract_socket_is_one_too():
    name = f"@disposition-listener-test-{os.getpid()}"
    with Notified(name) as systemd:
        Notifier({"NOTIFY_SOCKET": name}).ready("running")
        assert systemd.told("READY") == ["1"]


def test_without_a_socket_nothing_is_told():
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    assert not notifier.listens
    notifier.ready("running")
    notifier.alive()


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
    ],
)
def test_the_watchdog_is_ours_only_where_it_says_so(environ, seconds):
    assert Notifier(environ).watchdog_s == seconds


def test_a_socket_that_is_gone_is_told_once_and_holds_nobody_up(tmp_path):
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    with capture_logs() as logs:
        notifier.ready("running")
        notifier.status("running")
    assert [line["event"] for line in logs] == ["systemd_not_notified"]
