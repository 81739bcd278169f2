"""The configuration that tests write is the one that they mean."""

import tomllib
from pathlib import Path

from support.config import audit_events, toml, write_config


def test_every_kind_of_value_survives_as_toml():
    table = {
        "number": 1.5,
        "flag": True,
        "list": ["a", 'quote " \\ é'],
        "table": {"nested": {"with.dot": "x"}, "empty": {}},
        "many": [{"a": 1}, {"b": {"c": 2}}],
    }
    assert tomllib.loads(toml(table)) == table


def test_more_is_merged_table_by_table_and_none_takes_away(tmp_path: Path):
    path = write_config(
        tmp_path,
        server={"url": "http://127.0.0.1:1"},
        webhook="http://127.0.0.1:2",
        sinks={"crm": {"concurrency": 2}, "audit": None},
        shutdown_timeout_s=1.0,
        accounts=[{"username": "agent1"}],
    )
    config = tomllib.loads(path.read_text(encoding="utf-8"))
    assert config["sinks"] == {"crm": {"type": "webhook", "url": "http://127.0.0.1:2", "concurrency": 2}}
    assert config["journal"] == {"path": str(tmp_path / "journal.db")}
    assert config["shutdown_timeout_s"] == 1.0
    assert config["accounts"] == [{"username": "agent1"}]


def test_only_whole_lines_of_the_audit_file_count(tmp_path: Path):
    assert audit_events(tmp_path) == []
    (tmp_path / "dispositions.jsonl").write_text('{"id": "1"}\n{"id": "2', encoding="utf-8")
    assert audit_events(tmp_path) == [{"id": "1"}]
