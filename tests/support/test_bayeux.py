"""What is missing is named: skipped where that is fine, a failure where nothing may be left out."""

from pathlib import Path

import pytest

from support import bayeux


@pytest.fixture
def no_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayeux.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(bayeux, "SERVERS", tmp_path)


def test_without_the_packages_a_test_is_skipped_with_the_command_that_installs_them(
    no_packages: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(bayeux.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="npm ci --prefix tests/interop/servers"):
        bayeux.need_node()


def test_where_servers_are_required_that_is_a_failure(no_packages: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(bayeux.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="npm ci"):
        bayeux.need_node()


def test_without_node_the_reason_is_node(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(bayeux.REQUIRED, raising=False)
    monkeypatch.setattr(bayeux.shutil, "which", lambda name: None)
    with pytest.raises(pytest.skip.Exception, match="node is not installed"):
        bayeux.need_node()
