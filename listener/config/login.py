"""Logins: secrets are in the configuration, or in a file that is reread each time; never in a URL."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, Self

from pydantic import AfterValidator, SecretStr, model_validator
from yarl import URL

from listener.config.http import is_loopback
from listener.config.schema import SecretFile, Section, secret_in
from listener.errors import Retry


class Surroundings(Protocol):
    """Of a table: where its files are, and how its settings are called."""

    @property
    def base(self) -> Path:
        """The folder that relative paths start from."""

    def setting(self, key: str) -> str:
        """The dotted path of one of its keys, as errors name it."""


async def secret_of(
    context: Surroundings,
    key: str,
    *,
    inline: SecretStr | None,
    file: Path | None,
    read: Callable[[Path], str] = secret_in,
) -> str | None:
    """The secret, without the line end of its file; None if neither is given.

    Args:
        context: the table's surroundings.
        key: the setting's name; that of its file is `<key>_file`.
        inline: the secret as configured.
        file: the file that holds it instead, relative to the configuration.
        read: what is in the file; `text_in` where it is more than a line.

    Raises:
        Retry: the file cannot be read, or holds no secret: it may be in the middle of a rotation.
    """
    if inline is not None:
        return inline.get_secret_value()
    if file is None:
        return None
    path = context.base / file
    try:
        secret = (await asyncio.to_thread(read, path)).strip()
    except OSError as exc:
        raise Retry(f"{context.setting(f'{key}_file')}: cannot read {path}: {exc.strerror}") from None
    except ValueError as exc:
        raise Retry(f"{context.setting(f'{key}_file')}: {exc}") from None
    if not secret:
        raise Retry(f"{context.setting(f'{key}_file')}: {path} is empty")
    return secret


def url_beside_login(usable: Callable[[URL], bool], expected: str) -> AfterValidator:
    """A check of a URL, which is kept as written, for tables whose credentials have keys of their own.

    Args:
        usable: whether it leads somewhere; a ValueError says that it does not.
        expected: what it should be.
    """

    def checked(value: str) -> str:
        try:
            url = URL(value)
            fits = usable(url)
            secretive = url.user is not None or url.password is not None or "password" in url.query
        except ValueError:
            fits = secretive = False
        if secretive:
            raise ValueError("must not contain a user name or password: give username and password_file instead")
        if not fits:
            raise ValueError(expected)
        return value

    return AfterValidator(checked)


def exposure(hosts: Iterable[str], instead: str) -> str | None:
    """What is wrong with a login where nothing asks for TLS; None if the hosts are this one.

    Args:
        hosts: whom it is shown to.
        instead: what would ask for TLS.
    """
    away = [host for host in hosts if not is_loopback(host)]
    return f"the login may pass the network to {', '.join(away)} unencrypted: use {instead}" if away else None


class Unencrypted(NamedTuple):
    """A way without TLS, or whose other side may do without: the key that leads there, and what `exposure` is told."""

    key: str
    hosts: tuple[str, ...]
    instead: str


class LoginSettings(Section):
    """Keys of a table that leads to what may ask for a user and a password."""

    username: str | None = None
    password: SecretStr | None = None
    password_file: SecretFile | None = None

    @model_validator(mode="after")
    def _one_password_of_somebody(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give either password or password_file")
        given = self.password is not None or self.password_file is not None
        if given and self.username is None:
            raise ValueError("a password needs a username")
        return self

    @property
    def reveals_login(self) -> bool:
        """Whether who reads the connection, or takes the place of the other side, has the secret of the login."""
        return self.username is not None

    @property
    def unencrypted(self) -> Unencrypted | None:
        """Where this leads without TLS; None if it does not."""
        return None

    def exposures(self) -> Iterator[tuple[str, str]]:
        """Which logins may go to another host without TLS: the key that leads there, and why that is wrong."""
        way = self.unencrypted if self.reveals_login else None
        if way is not None and (text := exposure(way.hosts, way.instead)) is not None:
            yield way.key, text

    def secret(self, base: Path) -> str:
        """The password at this moment, empty without one; `base` as in `Surroundings`. Blocks.

        Raises OSError, or ValueError: its file holds none.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        return "" if self.password_file is None else secret_in(base / self.password_file)

    async def password_now(self, context: Surroundings) -> str | None:
        """The password at this moment; see `secret_of`."""
        return await secret_of(context, "password", inline=self.password, file=self.password_file)
