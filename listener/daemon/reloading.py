"""What a new configuration changes in a running daemon, and what only a restart can change."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import structlog

from listener.config.settings import Settings
from listener.daemon.supervisors import differs_in_team_alone
from listener.errors import ConfigError, Problem
from listener.model.condition import Configuration
from listener.runtime.metrics import Metrics

_log = structlog.get_logger(__name__)

_LIVE = {"accounts", "accounts_file", "supervisors", "include", "watch", "sinks", "base"}

NEEDS_RESTART = "cannot be changed while the daemon runs: restart it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """The names of the accounts and sinks that a reload touches; the others continue undisturbed.

    `teams_changed` are supervisors that monitor others from now on, and whose sessions go on.
    """

    accounts_added: tuple[str, ...] = ()
    accounts_changed: tuple[str, ...] = ()
    accounts_removed: tuple[str, ...] = ()
    teams_changed: tuple[str, ...] = ()
    sinks_added: tuple[str, ...] = ()
    sinks_changed: tuple[str, ...] = ()
    sinks_removed: tuple[str, ...] = ()

    @property
    def accounts(self) -> tuple[str, ...]:
        """All accounts that are touched."""
        return (*self.accounts_added, *self.accounts_changed, *self.accounts_removed)

    @property
    def sinks_ended(self) -> tuple[str, ...]:
        """The sinks whose lanes stop."""
        return (*self.sinks_changed, *self.sinks_removed)

    @property
    def sinks_started(self) -> tuple[str, ...]:
        """The sinks whose lanes start."""
        return (*self.sinks_added, *self.sinks_changed)

    def __bool__(self) -> bool:
        return bool(self.accounts or self.teams_changed or self.sinks_ended or self.sinks_started)


def changes_between(old: Settings, new: Settings) -> Changes:
    """What must be started, stopped or restarted.

    Raises:
        ConfigError: other settings differ too, which only a restart can change.
    """
    if problems := list(_fixed(old, new)):
        raise ConfigError(problems)
    before = {account.username: account for account in old.listening_accounts()}
    after = {account.username: account for account in new.listening_accounts()}
    accounts = _compared(before, after)
    teams = [name for name in accounts[1] if differs_in_team_alone(before[name], after[name])]
    sinks = _compared(old.sinks, new.sinks)
    return Changes(
        accounts_added=accounts[0],
        accounts_changed=tuple(name for name in accounts[1] if name not in teams),
        accounts_removed=accounts[2],
        teams_changed=tuple(teams),
        sinks_added=sinks[0],
        sinks_changed=sinks[1],
        sinks_removed=sinks[2],
    )


def _compared(old: dict[str, Any], new: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The keys that are added, changed and removed."""
    added = tuple(name for name in new if name not in old)
    changed = tuple(name for name in new if name in old and new[name] != old[name])
    return added, changed, tuple(name for name in old if name not in new)


def _fixed(old: Settings, new: Settings) -> Iterator[Problem]:
    for table in Settings.model_fields:
        before, after = getattr(old, table), getattr(new, table)
        if table in _LIVE or before == after:
            continue
        fields = getattr(type(before), "model_fields", {}) if type(before) is type(after) else {}
        differing = [f"{table}.{key}" for key in fields if getattr(before, key) != getattr(after, key)]
        for place in differing or [table]:
            yield Problem(place, NEEDS_RESTART)


class Reloads:
    """The result of the last reload: for the log, the metrics and the status.

    Args:
        metrics: counts reloads, and says whether the last one was applied.
        now_ms: epoch milliseconds.
    """

    def __init__(self, *, metrics: Metrics, now_ms: Callable[[], int]) -> None:
        self._metrics = metrics
        self._now_ms = now_ms
        self._loaded_ms = now_ms()
        self._refused_ms: int | None = None
        self._problems: tuple[Problem, ...] = ()
        metrics.set("config_last_reload_success", 1)

    def done(self, changes: Changes) -> None:
        """The new configuration is in force."""
        self._loaded_ms, self._refused_ms, self._problems = self._now_ms(), None, ()
        self._metrics.set("config_last_reload_success", 1)
        self._metrics.count("config_reloads_total", 1, "done")
        _log.info("reloaded", **{name: names for name, names in asdict(changes).items() if names})

    def refused(self, problems: tuple[Problem, ...]) -> None:
        """The old configuration stays in force."""
        self._refused_ms, self._problems = self._now_ms(), problems
        self._metrics.set("config_last_reload_success", 0)
        self._metrics.count("config_reloads_total", 1, "refused")
        _log.error("reload_refused", problems=[str(problem) for problem in problems], effect="the old one remains")

    @property
    def is_refused(self) -> bool:
        """Whether the newest configuration is not in force."""
        return self._refused_ms is not None

    def summary(self) -> str:
        """In a line, what is in force."""
        return (
            "running"
            if self._refused_ms is None
            else f"running; the new configuration was refused: {self._problems[0]}"
        )

    def status(self) -> Configuration:
        """What is in force; problems hold no values, so no secrets."""
        problems = tuple(str(problem) for problem in self._problems)
        return Configuration(loaded_ms=self._loaded_ms, refused_ms=self._refused_ms, problems=problems)
