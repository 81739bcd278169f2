"""Who the sink says it is: nobody, a bearer token, a user with a password, or an OAuth 2.0 client."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Protocol

from aiohttp import hdrs

from listener.errors import Retry
from listener.sinks.registry import SinkContext
from listener.sinks.secrets import secret_of
from listener.sinks.webhook.failure import Failure
from listener.sinks.webhook.settings import WebhookSettings, is_header_value


class Credentials(Protocol):
    """What goes with every request.

    Attributes:
        headers: as of the last `prepare` or `renew`.
        secrets: what an answer may quote of them beside the headers.
    """

    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102 - told above

    @property
    def secrets(self) -> tuple[str, ...]: ...  # noqa: D102 - told above

    async def prepare(self) -> None:
        """Have them at hand, once a batch. Raises Retry or Park."""

    async def renew(self, refused: Mapping[str, str], failure: Failure) -> Failure | None:
        """What to make of a request with the headers `refused` that was answered 401.

        Returns None where there are others now, to be tried once; else the failure that this one becomes.
        """


def basic(user: str, password: str) -> str:
    """The value of `Authorization` for a user and a password in UTF-8 (RFC 7617)."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


class FixedCredentials:
    """Those of the configuration; files are read anew for each batch, so that a rotated secret needs no restart.

    Args:
        context: the sink's surroundings.
        settings: its keys.
    """

    def __init__(self, context: SinkContext, settings: WebhookSettings) -> None:
        self._context = context
        self._settings = settings
        self.headers: Mapping[str, str] = {}
        self.secrets: tuple[str, ...] = ()

    async def prepare(self) -> None:
        """See `Credentials`. Raises Retry: a file holds none."""
        settings = self._settings
        if settings.username is not None:
            password = await settings.password_now(self._context) or ""
            self.secrets = (password,)
            self.headers = {hdrs.AUTHORIZATION: basic(settings.username, password)}
            return
        token = await secret_of(
            self._context, "bearer_token", inline=settings.bearer_token, file=settings.bearer_token_file
        )
        if token is not None and not is_header_value(token):
            raise Retry(f"{self._context.setting('bearer_token_file')}: holds no token, but control characters")
        self.headers = {hdrs.AUTHORIZATION: f"Bearer {token}"} if token is not None else {}

    async def renew(self, refused: Mapping[str, str], failure: Failure) -> Failure | None:  # noqa: ARG002 - the protocol's
        """See `Credentials`: there are no others."""
        return failure
