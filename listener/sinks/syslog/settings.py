"""Keys of a sink of type `syslog`, with the limits that the RFCs set them."""

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from listener.config.tls import TlsSettings

# RFC 5424, 6.2.1, tables 1 and 2: the place in the row is the number.
# fmt: off
_Facility = Literal[
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]
# fmt: on
_Severity = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]

_PORT_TLS = 6514  # RFC 5425, 4.1
_PORT_TCP = 514  # assigned to something else, but what receivers listen on (RFC 6587, 3.2)
_SD_NAME = 32


def _printable(longest: int) -> AfterValidator:
    def checked(value: str) -> str:
        if not re.fullmatch(rf"[!-~]{{1,{longest}}}", value):
            raise ValueError(f"should be 1 to {longest} printable ASCII characters without spaces")
        return value

    return AfterValidator(checked)


def _private_sd_id(value: str) -> str:
    """RFC 5424, 6.3.2: all without an @ are reserved."""
    if len(value) > _SD_NAME or not re.fullmatch(r"(?:(?![=\]\"@])[!-~])+@[0-9]+(\.[0-9]+)*", value):
        raise ValueError(
            f"should be name@number, with your private enterprise number, and of {_SD_NAME} characters at most"
        )
    return value


class SyslogSettings(TlsSettings):
    """Keys of a sink of type `syslog`. `port` is 6514 with TLS and 514 without unless it is given."""

    host: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65_535)
    tls: bool = True
    timeout_s: float = Field(default=30.0, gt=0)
    confirm: Literal["close", "sent"] = "close"
    facility: _Facility = "local0"
    severity: _Severity = "info"
    hostname: Annotated[str, _printable(255)] | None = None
    app_name: Annotated[str, _printable(48)] = "disposition-listener"
    sd_id: Annotated[str, AfterValidator(_private_sd_id)] = "disposition@32473"  # the number of examples (RFC 5612)
    max_bytes: int = Field(default=8192, ge=2048)  # RFC 5425, 4.3.1: a receiver MUST take 2048 and SHOULD take 8192
    bom: bool = False

    @model_validator(mode="after")
    def _certificates_need_tls(self) -> Self:
        given = [key for key in TlsSettings.model_fields if key in self.model_fields_set]
        if given and not self.tls:
            raise ValueError(f"{given[0]} needs tls = true")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or (_PORT_TLS if self.tls else _PORT_TCP)

    @property
    def priority(self) -> int:
        """PRIVAL (RFC 5424, 6.2.1)."""
        return 8 * get_args(_Facility).index(self.facility) + get_args(_Severity).index(self.severity)
