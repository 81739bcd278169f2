"""New passwords beside living sessions: a session goes on by its cookie, and could not log in days later."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import aiohttp
import structlog
from pydantic import SecretStr

from listener.config.settings import AccountSettings, Settings
from listener.daemon.credentials import Fingerprint, fingerprint
from listener.errors import LoginRefused, OperationForbidden, ServerFault, WebServicesError
from listener.runtime.backoff import Backoff
from listener.runtime.host import Host
from listener.runtime.visitor import Visitor
from listener.webservices.client import WebServices

_log = structlog.get_logger(__name__)

_LOOK_S = 10.0
_SOON_S = 1.0  # after a change: sessions that were started anew are heard again by then
_APART_S = 0.1  # a denial-of-service filter may stand before the server
_AGAIN_S = 300.0  # after a refusal, at least: a directory may lock out who is refused too often
_AGAIN_LIMIT_S = 3600.0
_PAUSE_LIMIT_S = 300.0
REFUSED = "the new password is refused, and the session goes on with its old login"


@dataclass(slots=True)
class _File:
    """A password file: what it looks like, and a digest of what it holds."""

    path: Path
    mark: Fingerprint
    digest: bytes


_Password = SecretStr | _File | None


class PasswordWatch:
    """Finds the accounts whose password has changed since the last look, in the configuration or in its own file.

    A file that is replaced by the same password has not changed it, and one that holds none may be in the middle of a
    rotation.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Password] = {}
        self._settings: Settings | None = None

    def look(self, settings: Settings) -> set[str]:
        """Their names; accounts that were not there at the last look have not changed. Blocks."""
        accounts = settings.listening_accounts()
        if settings is self._settings:
            accounts = tuple(one for one in accounts if one.password_file is not None)
        else:
            names = {one.username for one in accounts}
            self._seen = {name: seen for name, seen in self._seen.items() if name in names}
            self._settings = settings
        changed = set()
        for one in accounts:
            is_known, before = one.username in self._seen, self._seen.get(one.username)
            now = self._seen[one.username] = _password(one, settings.base, before)
            if is_known and _differ(before, now):
                changed.add(one.username)
        return changed


def written_since(settings: Settings, moments: Mapping[str, int]) -> set[str]:
    """Of these accounts, each with a moment in epoch milliseconds, those whose password was written later. Blocks.

    One that does not stand in a file of its own was written with the configuration.
    """
    own = {one.username: one.password_file for one in settings.listening_accounts() if one.username in moments}
    configured = max(map(_written_ms, settings.files), default=0.0)
    return {
        name
        for name, file in own.items()
        if (configured if file is None else _written_ms(settings.base / file)) > moments[name]
    }


def _written_ms(path: Path) -> float:
    """When a file got what it holds, or came to its place; a copy may bring the time of its original along."""
    try:
        found = path.stat()
    except OSError:
        return 0.0
    return max(found.st_mtime, found.st_ctime) * 1000


def _password(account: AccountSettings, base: Path, before: _Password) -> _Password:
    if account.password_file is None:
        return account.password
    path = base / account.password_file
    mark = fingerprint(path)
    if isinstance(before, _File) and (before.path, before.mark) == (path, mark):
        return before
    try:
        return _File(path, mark, blake2b(account.secret(base).encode(), digest_size=16).digest())
    except (OSError, ValueError):
        return before


def _differ(before: _Password, now: _Password) -> bool:
    if isinstance(before, _File) and isinstance(now, _File):
        return before.digest != now.digest
    return before != now


@dataclass(slots=True)
class _Trial:
    """A password to be tried: when, and how long after a refusal."""

    at_s: float
    again: Backoff
    is_told: bool = False


class Passwords:
    """Tries each changed password in an HTTP session of its own, which takes nothing from the account's.

    One after another, and never that of an account that has no session here now: such a session logs in anyway. What is
    refused is tried again less and less often, until a login succeeds or the password changes again.

    Args:
        settings: the configuration in force.
        connector: shared by all accounts.
        lives: whether an account has a session here that need not log in.
        doubt: told what is wrong with the password of an account; None once nothing is.
        host: time and chance.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        connector: aiohttp.BaseConnector,
        lives: Callable[[str], bool],
        doubt: Callable[[str, str | None], None],
        host: Host,
    ) -> None:
        self._settings = settings
        self._connector = connector
        self._lives = lives
        self._doubt = doubt
        self._host = host
        self._watch = PasswordWatch()
        self._continued: dict[str, int] = {}
        self._wanted = asyncio.Event()
        self._trials: dict[str, _Trial] = {}
        self._pause = Backoff(first_s=_LOOK_S, limit_s=_PAUSE_LIMIT_S, uniform=host.random.uniform)
        self._paused_until_s = 0.0

    def look(self) -> None:
        """There is another configuration: look at it now."""
        self._wanted.set()

    def continued(self, account: str, seen_ms: int) -> None:
        """It goes on, without a login, with a session that was heard before: its password may have changed since then.

        Args:
            account: its name.
            seen_ms: when the session was heard last.
        """
        self._continued[account] = seen_ms

    def logged_in(self, account: str) -> None:
        """The account's own session has logged in, so its password is right."""
        if self._trials.pop(account, None) is not None:
            self._doubt(account, None)

    async def run(self) -> None:
        """Look and try until cancelled."""
        while True:
            settings = self._settings()
            changed = await asyncio.to_thread(self._changed, settings)
            accounts = {one.username: one for one in settings.listening_accounts()}
            for name in self._trials.keys() - accounts.keys() | changed:
                self.logged_in(name)  # what was said of another password counts no more
            if settings.server.login == "basic":
                for name in sorted(changed):
                    self._trials[name] = _Trial(self._host.clock.monotonic_s(), self._patience())
            await self._try_due(accounts, settings)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), _SOON_S if changed else _LOOK_S)
            self._wanted.clear()

    def _changed(self, settings: Settings) -> set[str]:
        continued, self._continued = self._continued, {}
        return self._watch.look(settings) | written_since(settings, continued)

    def _patience(self) -> Backoff:
        return Backoff(
            first_s=2 * _AGAIN_S, floor_s=_AGAIN_S, limit_s=_AGAIN_LIMIT_S, uniform=self._host.random.uniform
        )

    async def _try_due(self, accounts: dict[str, AccountSettings], settings: Settings) -> None:
        for name, trial in list(self._trials.items()):
            if self._wanted.is_set() or self._host.clock.monotonic_s() < self._paused_until_s:
                return
            if trial.at_s <= self._host.clock.monotonic_s() and self._trials.get(name) is trial and self._lives(name):
                await self._try(accounts[name], trial, settings)
                await self._host.clock.sleep(_APART_S)

    async def _try(self, account: AccountSettings, trial: _Trial, settings: Settings) -> None:
        name = account.username
        try:
            await self._ask(account, settings)
        except (LoginRefused, OperationForbidden) as exc:
            if self._trials.get(name) is trial:
                trial.at_s = self._host.clock.monotonic_s() + trial.again.next()
                self._doubt(name, f"{REFUSED}: {exc}")
                if not trial.is_told:
                    trial.is_told = True
                    _log.warning("new_password_refused", account=name, error=str(exc), effect="its session goes on")
        except WebServicesError as exc:
            asked_s = exc.retry_after_s if isinstance(exc, ServerFault) else None
            wait_s = max(self._pause.next(), asked_s or 0.0)
            self._paused_until_s = self._host.clock.monotonic_s() + wait_s
            _log.debug("new_password_not_tried", account=name, error=str(exc), again_in_s=round(wait_s, 1))
            return
        else:
            if self._trials.get(name) is trial:
                self.logged_in(name)
                _log.info("new_password_accepted", account=name)
        self._pause.reset()

    async def _ask(self, account: AccountSettings, settings: Settings) -> None:
        await WebServices(
            url=settings.server.url,
            username=account.username,
            password=lambda: account.secret(settings.base),
            http=Visitor(self._connector),
            request_timeout_s=settings.server.request_timeout_s,
            time_s=self._host.time_s,
        ).try_password()
