"""The `[http]` table: where health, metrics, status and actions are served, and who may ask for them."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, SecretStr, ValidationInfo, field_validator

from listener.config.schema import InputFile, Section, looked_into, secret_in

_LAST_PORT = 65_535
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_WANTED = "a token consists of letters, digits and -._~+/, with = only at its end"


def _host_and_port(value: str) -> str:
    host, colon, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or not colon or not port.isdecimal() or int(port) > _LAST_PORT or (":" in host and not bracketed):
        raise ValueError('should be HOST:PORT, such as "127.0.0.1:9464"')
    return value


def is_token(text: str) -> bool:
    """Whether a text can be sent as a bearer token (RFC 6750, 2.1)."""
    return _TOKEN.fullmatch(text) is not None


def token_in(file: Path) -> str:
    """The token in a file, without surrounding white space. Raises OSError, or ValueError: there is none."""
    text = secret_in(file).strip()
    if not is_token(text):
        raise ValueError(f"{file} contains no token: {_WANTED}")
    return text


class HttpSettings(Section):
    """Health, metrics, status and actions; off without this table.

    The fields that validate `listen` must precede it.
    """

    token: SecretStr | None = None
    token_file: Annotated[InputFile, looked_into(token_in)] | None = None
    allow_remote: bool = False
    listen: Annotated[str, AfterValidator(_host_and_port)] = "127.0.0.1:9464"

    @field_validator("token")
    @classmethod
    def _is_one(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_token(value.get_secret_value()):
            raise ValueError(_WANTED)
        return value

    @field_validator("token_file")
    @classmethod
    def _is_alone(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("token") is not None:
            raise ValueError("give either token or token_file")
        return value

    @field_validator("listen")
    @classmethod
    def _stays_here(cls, value: str, info: ValidationInfo) -> str:
        """Whoever reaches the port can read what is served: beyond this host that must be allowed explicitly."""
        has_token = any(info.data.get(key, key) is not None for key in ("token", "token_file"))
        if not (has_token or info.data.get("allow_remote", True) or is_loopback(_address(value)[0])):
            raise ValueError(
                f"{value} can be reached from other hosts: give a token or token_file beside it,"
                " or set allow_remote = true to serve everybody"
            )
        return value

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return _address(self.listen)


def is_loopback(host: str) -> bool:
    """Whether only this host can reach it; any name but `localhost` may resolve to anything.

    An IPv4 address inside an IPv6 one counts as IPv4: versions of Python differ in that.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.lower() == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)
