"""How a connection to NATS is asked for: over TLS where that is a must, with the credentials of this moment."""

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Any

from nats.aio.client import RawCredentials

from listener.errors import Retry
from listener.sinks.nats.settings import NatsSettings
from listener.sinks.registry import SinkContext
from listener.sinks.secrets import secret_of

_SEED = "SU[A-Z2-7]{56}"
_FORMATS = {
    "seed": ("nkey_file", _SEED, "the nkey seed of a user"),
    "credentials": (
        "credentials_file",
        rf".*BEGIN NATS USER JWT-+\s+\S+\s.*BEGIN USER NKEY SEED-+\s+{_SEED}\s.*",
        "a user JWT and its nkey seed",
    ),
}


class NoTlsError(Exception):
    """TLS is a must, and the server, or somebody in between, offers none. Nothing has been sent."""

    def __init__(self) -> None:
        super().__init__("tls:// is asked for and not offered")


class Login:
    """What one connection is made with.

    The client takes the server's word for it whether there is TLS, and so might somebody in between who wants the
    password: hence it gets credentials only once a handshake has succeeded.

    Attributes:
        options: arguments of `Client.connect`.
    """

    def __init__(self, *, settings: NatsSettings, tls: ssl.SSLContext, secrets: dict[str, str]) -> None:
        self._tls_only = settings.tls_only
        self._encrypted = _handshakes_of(tls)
        self.options: dict[str, Any] = {
            "servers": list(settings.servers),
            "tls": tls,
            **{key: self._careful(secret) for key, secret in secrets.items() if key in ("user", "password", "token")},
        }
        if "seed" in secrets:
            self.options["nkeys_seed_str"] = secrets["seed"]
        if "credentials" in secrets:
            self.options["user_credentials"] = RawCredentials(secrets["credentials"])

    def check_tls(self) -> None:
        """Raise NoTlsError where there should be TLS and is none."""
        if self._tls_only and not self._encrypted():
            raise NoTlsError

    def _careful(self, secret: str) -> Callable[[], str]:
        def give() -> str:
            self.check_tls()
            return secret

        return give


async def login_of(context: SinkContext, settings: NatsSettings) -> Login:
    """Read certificates and secrets anew.

    Raises:
        Retry: a file cannot be used now; it may be in the middle of a rotation.
        StartError: the same of a certificate.
    """
    tls = await asyncio.to_thread(settings.ssl_context, context)
    return Login(settings=settings, tls=tls, secrets=await _secrets(context, settings))


async def _secrets(context: SinkContext, settings: NatsSettings) -> dict[str, str]:
    if settings.username is not None:
        return {"user": settings.username, "password": await settings.password_now(context) or ""}
    found = {
        "token": await secret_of(context, "token", inline=settings.token, file=settings.token_file),
        "seed": await secret_of(context, "nkey", inline=None, file=settings.nkey_file),
        "credentials": await secret_of(context, "credentials", inline=None, file=settings.credentials_file),
    }
    given = {key: secret for key, secret in found.items() if secret is not None}
    _check_format(context, given)
    return given


def _check_format(context: SinkContext, secrets: dict[str, str]) -> None:
    """The client reads on for ever in credentials that are cut off, and tells nothing of a seed that is none."""
    for key, secret in secrets.items():
        setting, pattern, words = _FORMATS.get(key, ("", ".*", ""))
        if not re.fullmatch(pattern, secret, re.DOTALL):
            raise Retry(f"{context.setting(setting)}: does not hold {words}")


def _handshakes_of(tls: ssl.SSLContext) -> Callable[[], bool]:
    """Whether a TLS handshake has succeeded with this context so far."""
    succeeded: list[bool] = []

    class Noted(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            succeeded.append(True)

    tls.sslobject_class = Noted
    return lambda: bool(succeeded)
