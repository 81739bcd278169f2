"""The settings of an HTTP proxy, for tables whose requests may have to go through one."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from yarl import URL

from listener.config.schema import SecretFile, Section, url_that


def _is_a_proxy(url: URL) -> bool:
    return url.scheme == "http" and bool(url.host) and url.port is not None and url.path in ("", "/") and not url.query


ProxyUrl = Annotated[str, url_that(_is_a_proxy, "should be http://host:port, without a path")]


class ProxySettings(Section):
    """Keys of a table whose server may be behind an HTTP proxy. Nothing is taken from HTTP_PROXY and its like."""

    proxy: ProxyUrl | None = None
    proxy_user: str | None = Field(default=None, min_length=1)
    proxy_password_file: SecretFile | None = None

    @model_validator(mode="after")
    def _a_login_has_its_proxy(self) -> Self:
        if self.proxy_user is not None and self.proxy is None:
            raise ValueError("proxy_user needs proxy beside it")
        if (self.proxy_user is None) != (self.proxy_password_file is None):
            raise ValueError("proxy_user and proxy_password_file need each other")
        if self.proxy_user is not None and ":" in self.proxy_user:  # RFC 7617, 2
            raise ValueError("proxy_user contains a colon, which ends the user name in HTTP Basic authentication")
        return self
