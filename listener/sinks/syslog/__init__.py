"""The `syslog` sink: one RFC 5424 message per event, octet counted, over TLS (RFC 5425) or plain TCP (RFC 6587)."""

from listener.sinks.syslog.sink import KIND, SyslogSink

__all__ = ["KIND", "SyslogSink"]
