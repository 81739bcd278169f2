"""The settings of a `webhook` sink, and their validation."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator
from yarl import URL

from listener.config.login import LoginSettings, Unencrypted, exposure
from listener.config.proxy import ProxySettings
from listener.config.schema import InputFile, SecretFile, Section, Url, looked_into, text_in
from listener.config.tls import TlsSettings
from listener.model.forms import problem_of
from listener.sinks.webhook.addresses import is_public
from listener.sinks.webhook.signing import keys_in, signing_key

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OURS = {
    *("content-type", "content-length", "transfer-encoding", "host", "accept-encoding"),
    *("webhook-id", "webhook-timestamp", "webhook-signature", "webhook-request-origin"),
}


def _header_name(name: str) -> None:
    if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
        raise ValueError(f"{name!r} cannot be set")


def is_header_value(text: str) -> bool:
    """Whether a text can be the value of a header (RFC 9110, 5.5)."""
    return bool(text) and not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text)


def _header_value(value: SecretStr) -> SecretStr:
    if not is_header_value(value.get_secret_value()):
        raise ValueError("the value of a header must not be empty or contain control characters")
    return value


def _headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in headers.items():
        _header_name(name)
        _header_value(value)
    return headers


def _header_templates(templates: dict[str, str]) -> dict[str, str]:
    for name, value in templates.items():
        _header_name(name)
        if name.lower() == "authorization":
            raise ValueError(f"{name!r} cannot be set from an event")
        if not value.isascii() or not value.strip():
            raise ValueError(f"{name}: should be printable ASCII; fields of the event are percent-encoded")
        if problem := problem_of(value, "text/plain"):
            raise ValueError(f"{name}: {problem}")
    return templates


def _signing_secret(value: SecretStr) -> SecretStr:
    signing_key(value.get_secret_value())
    return value


def _origin(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?", value):
        raise ValueError('should be a DNS name, such as "listener.example.com"')
    return value


SigningFile = Annotated[InputFile, looked_into(lambda file: keys_in(file, text_in(file)))]
Token = Annotated[SecretStr, AfterValidator(_header_value)]


class OAuth2Settings(Section):
    """Where an access token comes from: the client credentials grant of OAuth 2.0 (RFC 6749, 4.4)."""

    token_url: Url
    client_id: str = Field(min_length=1)
    client_secret: SecretStr | None = None
    client_secret_file: SecretFile | None = None
    client_auth: Literal["basic", "body"] = "basic"
    scope: str | None = None
    audience: str | None = None

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        if (self.client_secret is None) == (self.client_secret_file is None):
            raise ValueError("give either client_secret or client_secret_file")
        return self


class WebhookSettings(TlsSettings, LoginSettings, ProxySettings):
    """Keys of a sink of type `webhook`. `concurrency` is the number of chats in flight at once."""

    url: Url
    method: Literal["POST", "PUT"] = "POST"
    mode: Literal["structured", "binary", "batched"] = "structured"
    timeout_s: float = Field(default=10.0, gt=0)
    concurrency: int = Field(default=4, ge=1, le=256)
    headers: Annotated[dict[str, SecretStr], AfterValidator(_headers)] = Field(default_factory=dict)
    header_templates: Annotated[dict[str, str], AfterValidator(_header_templates)] = Field(default_factory=dict)
    signing_secrets: list[Annotated[SecretStr, AfterValidator(_signing_secret)]] = Field(default_factory=list)
    signing_secret_files: list[SigningFile] = Field(default_factory=list)
    bearer_token: Token | None = None
    bearer_token_file: SecretFile | None = None
    oauth2: OAuth2Settings | None = None
    validation: Literal["none", "options"] = "none"
    origin: Annotated[str, AfterValidator(_origin)] | None = None
    request_rate: int | None = Field(default=None, ge=1)
    deny_private_networks: bool = False

    @field_validator("username")
    @classmethod
    def _without_colon(cls, value: str | None) -> str | None:
        """RFC 7617, 2."""
        if value is not None and ":" in value:
            raise ValueError("contains a colon, which ends the user name in HTTP Basic authentication")
        return value

    @model_validator(mode="after")
    def _one_authorization(self) -> Self:
        given = ["headers.Authorization" for name in self.headers if name.lower() == "authorization"]
        keys = ("bearer_token", "bearer_token_file", "username", "oauth2")
        given += [key for key in keys if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}")
        return self

    @model_validator(mode="after")
    def _each_header_once(self) -> Self:
        names = [name.lower() for name in (*self.headers, *self.header_templates)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the header {twice[0]} is given more than once")
        if self.mode == "binary" and (taken := [name for name in names if name.startswith("ce-")]):
            raise ValueError(f'the header {taken[0]} cannot be set together with mode = "binary"')
        if self.mode == "batched" and self.header_templates:
            raise ValueError('header_templates and mode = "batched" do not go together: a request has several events')
        return self

    @model_validator(mode="after")
    def _says_who_asks(self) -> Self:
        if self.validation == "options" and self.origin is None:
            raise ValueError('validation = "options" needs origin, the DNS name by which the receiver knows this host')
        return self

    @model_validator(mode="after")
    def _leads_outside(self) -> Self:
        """An address that stands in the configuration is refused by `check`, one that a name leads to when it does."""
        if not self.deny_private_networks:
            return self
        if self.proxy is not None:
            raise ValueError("deny_private_networks and proxy do not go together: the proxy looks names up, not we")
        for key, url in (("url", self.url), ("oauth2.token_url", self.oauth2.token_url if self.oauth2 else None)):
            if url is not None and _is_denied(URL(url).host or ""):
                raise ValueError(f"{key} leads into a private network, which deny_private_networks refuses")
        return self

    @property
    def reveals_login(self) -> bool:
        """Each request carries it."""
        logins = (self.username, self.bearer_token, self.bearer_token_file, self.oauth2)
        return any(one is not None for one in logins) or any(name.lower() == "authorization" for name in self.headers)

    @property
    def unencrypted(self) -> Unencrypted | None:
        """The receiver, over http."""
        return _over_http("url", self.url)

    def exposures(self) -> Iterator[tuple[str, str]]:
        """See `LoginSettings`: the client's at its token endpoint is one more."""
        way = _over_http("oauth2.token_url", self.oauth2.token_url) if self.oauth2 is not None else None
        if way is not None and (text := exposure(way.hosts, way.instead)) is not None:
            yield way.key, text
        yield from super().exposures()


def _over_http(key: str, url: str) -> Unencrypted | None:
    parts = URL(url)
    return Unencrypted(key, (parts.host or "",), "https://") if parts.scheme == "http" else None


def _is_denied(host: str) -> bool:
    try:
        return not is_public(ip_address(host))
    except ValueError:
        return False


def problems_beside(settings: WebhookSettings, form: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a key beside the `format` of the sink's table: the key, and why."""
    if settings.mode != "structured" and form != "cloudevents":
        yield "mode", f'"{settings.mode}" writes CloudEvents, format = "{form}" does not'
