"""Events as syslog messages (RFC 5424) in their frames (RFC 5425)."""

import os
import socket
from collections.abc import Iterable

from listener.model.event import Event
from listener.model.forms import Form
from listener.sinks.syslog.settings import SyslogSettings

_BOM = b"\xef\xbb\xbf"
_ATTRIBUTES = ("id", "sequence", "type", "source", "subject", "account", "change")
_ESCAPES = str.maketrans({character: f"\\{character}" for character in '"\\]'})  # RFC 5424, 6.3.3


class MessageWriter:
    """Writes events as SYSLOG-MSG (RFC 5424, 6): the event's attributes as structured data, its body as MSG.

    MSG begins with a BOM on request only: JSON must not (RFC 8259, 8.1), and without one it is MSG-ANY (6.4).
    """

    def __init__(self, settings: SyslogSettings, form: Form) -> None:
        self._start = f"<{settings.priority}>1"
        host = settings.hostname or _host_name()
        self._origin = f"{host} {settings.app_name} {os.getpid()}"
        self._sd_id = settings.sd_id
        self._bom = _BOM if settings.bom else b""
        self._form = form

    def message(self, event: Event) -> bytes:
        """One message; MSGID is the kind of event."""
        values = ((name, getattr(event, name)) for name in _ATTRIBUTES)
        parameters = " ".join([f'{name}="{_escaped(str(value))}"' for name, value in values if value is not None])
        header = f"{self._start} {event.time} {self._origin} {event.kind} [{self._sd_id} {parameters}] "
        return header.encode() + self._bom + self._form.body(event)


def _host_name() -> str:
    """Of this machine, as HOSTNAME allows it (RFC 5424, 6.2.4)."""
    name = "".join(character for character in socket.gethostname() if "!" <= character <= "~")
    return name[:255] or "-"


def _escaped(value: str) -> str:
    """As PARAM-VALUE. Control characters are legal there, but make two lines of one in many receivers."""
    plain = value if value.isprintable() else "".join(c if c.isprintable() else " " for c in value)
    return plain.translate(_ESCAPES)


def framed(messages: Iterable[bytes]) -> bytes:
    """SYSLOG-FRAMEs (RFC 5425, 4.3), which TCP without TLS knows as octet counting (RFC 6587, 3.4.1)."""
    return b"".join([b"%d %b" % (len(message), message) for message in messages])
