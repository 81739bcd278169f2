import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.sinks.syslog.settings import SyslogSettings


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "sinks.siem.host: "),
        ({"host": ""}, "sinks.siem.host: "),
        ({"host": "h", "port": 0}, "sinks.siem.port: "),
        ({"host": "h", "facility": "local8"}, "sinks.siem.facility: "),
        ({"host": "h", "severity": "loud"}, "sinks.siem.severity: "),
        ({"host": "h", "confirm": "never"}, "sinks.siem.confirm: "),
        ({"host": "h", "hostname": "a b"}, "sinks.siem.hostname: should be 1 to 255 printable ASCII characters"),
        ({"host": "h", "app_name": "a" * 49}, "sinks.siem.app_name: should be 1 to 48 printable ASCII characters"),
        ({"host": "h", "sd_id": "disposition"}, "sinks.siem.sd_id: should be name@number"),
        ({"host": "h", "sd_id": 'a"b@1'}, "sinks.siem.sd_id: should be name@number"),
        ({"host": "h", "sd_id": "a" * 31 + "@1"}, "sinks.siem.sd_id: should be name@number"),
        ({"host": "h", "max_bytes": 2047}, "sinks.siem.max_bytes: "),
        ({"host": "h", "timeout_s": 0}, "sinks.siem.timeout_s: "),
        ({"host": "h", "tls": False, "verify": False}, "sinks.siem: verify needs tls = true"),
        ({"host": "h", "ca_file": "none.pem"}, "sinks.siem.ca_file: cannot read"),
        ({"host": "h", "bomb": True}, "sinks.siem.bomb: unknown"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, options, problem):
    problems = registry.problems("siem", LaneSettings(type="syslog", **options), tmp_path)
    assert any(str(found).startswith(problem) for found in problems), problems


def test_the_port_follows_from_tls_unless_it_is_given():
    assert SyslogSettings(host="h").address == ("h", 6514)
    assert SyslogSettings(host="h", tls=False).address == ("h", 514)
    assert SyslogSettings(host="h", port=601).address == ("h", 601)


@pytest.mark.parametrize(("facility", "severity", "priority"), [("kern", "emerg", 0), ("local7", "debug", 191)])
def test_the_priority_is_facility_and_severity_in_one_number(facility, severity, priority):
    assert SyslogSettings(host="h", facility=facility, severity=severity).priority == priority
