import pytest
from structlog.testing import capture_logs

from listener.config.settings import Settings
from listener.daemon.reloading import Changes, Reloads, changes_between
from listener.errors import ConfigError, Problem
from listener.model.condition import Configuration
from listener.runtime.metrics import Metrics


def settings(*, accounts=("a",), sinks=("x",), **more):
    return Settings.model_validate(
        {
            "server": {"url": "http://h", "login": "basic"},
            "accounts": [one if isinstance(one, dict) else {"username": one, "password": "p"} for one in accounts],
            "sinks": {name: {"type": "file", "path": name} for name in sinks},
            **more,
        }
    )


def test_nothing_changed_is_no_change():
    assert not changes_between(settings(), settings())


def test_accounts_and_sinks_come_go_and_change_by_name():
    old = settings(accounts=("a", "b"), sinks=("x", "y"))
    new = settings(accounts=({"username": "b", "password": "other"}, "c"), sinks=("y", "z"))
    new = new.model_copy(update={"sinks": {**new.sinks, "y": old.sinks["x"]}})
    changes = changes_between(old, new)
    assert changes == Changes(
        accounts_added=("c",),
        accounts_changed=("b",),
        accounts_removed=("a",),
        sinks_added=("z",),
        sinks_changed=("y",),
        sinks_removed=("x",),
    )
    assert set(changes.accounts) == {"a", "b", "c"}
    assert (changes.sinks_ended, changes.sinks_started) == (("y", "x"), ("z", "y"))


def test_what_only_a_restart_can_change_refuses_the_whole():
    with pytest.raises(ConfigError) as caught:
        changes_between(
            settings(), settings(accounts=("b",), server={"url": "http://other"}, http={}, shutdown_timeout_s=9.0)
        )
    text = "cannot be changed while the daemon runs: restart it"
    assert list(caught.value.problems) == [
        Problem("server.url", text),
        Problem("http", text),
        Problem("shutdown_timeout_s", text),
    ]


def test_a_refused_reload_is_told_until_one_is_taken_over():
    metrics, now = Metrics(), iter([1, 2, 3])
    reloads = Reloads(metrics=metrics, now_ms=lambda: next(now))
    with capture_logs() as logs:
        reloads.refused((Problem("sinks.x.path", "is required"),))
    assert logs[0]["problems"] == ["sinks.x.path: is required"]
    assert reloads.status() == Configuration(loaded_ms=1, refused_ms=2, problems=("sinks.x.path: is required",))
    assert metrics.value("config_last_reload_success") == 0
    with capture_logs() as logs:
        reloads.done(Changes(sinks_added=("y",)))
    assert logs == [{"event": "reloaded", "log_level": "info", "sinks_added": ("y",)}]
    assert reloads.status() == Configuration(loaded_ms=3)
    assert metrics.value("config_last_reload_success") == 1
    assert (metrics.value("config_reloads_total", "done"), metrics.value("config_reloads_total", "refused")) == (1, 1)
