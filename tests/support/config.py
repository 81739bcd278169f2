"""Writing the listener's TOML for a test."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

AUDIT = "dispositions.jsonl"
SINK = {"audit": {"type": "stdout"}}
GOOD = {
    "server": {"url": "https://gws.example.com/base/"},
    "accounts": [{"username": "agent1", "password": "PaSsWoRd"}],
    "sinks": SINK,
}
SECRET = "PaSsWoRd"


def toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> str:
    """A mapping as TOML: strings, numbers, bools, paths, lists of those, tables, and lists of tables."""
    values, tables = [], []
    for key, value in table.items():
        name = ".".join(json.dumps(part) for part in (*path, key))
        if isinstance(value, Mapping):
            tables.append(f"\n[{name}]\n{toml(value, (*path, key))}")
        elif isinstance(value, list | tuple) and value and all(isinstance(item, Mapping) for item in value):
            tables += [f"\n[[{name}]]\n{toml(item, (*path, key))}" for item in value]
        elif value is not None:
            # TOML's basic strings and arrays are JSON's, as long as DEL does not occur.
            values.append(f"{json.dumps(key)} = {json.dumps(value, default=str, ensure_ascii=False)}\n")
    return "".join(values + tables)


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    tables = {
        key: _merged(base[key], value)
        for key, value in more.items()
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
    }
    return {**base, **more, **tables}


def write_config(folder: Path, *, server: Mapping[str, Any], webhook: str | None = None, **more: Any) -> Path:
    """Write `listener.toml` and return its path.

    Journal and audit file (`AUDIT`, sink `audit`) are in `folder`, the log is JSON, `[http]` is off. `webhook` is the
    URL of a second sink, `crm`. What is in `more` is merged into that, table by table; None takes a key away:

        write_config(tmp_path, server=cometd.settings, shutdown_timeout_s=1.0, http={"listen": "127.0.0.1:9464"})
    """
    sinks: dict[str, Any] = {"audit": {"type": "file", "path": folder / AUDIT}}
    if webhook is not None:
        sinks["crm"] = {"type": "webhook", "url": webhook}
    base = {"server": server, "journal": {"path": folder / "journal.db"}, "sinks": sinks, "log": {"format": "json"}}
    path = folder / "listener.toml"
    path.write_text(toml(_merged(base, more)), encoding="utf-8")
    return path


def audit_events(folder: Path) -> list[dict[str, Any]]:
    """The events that the file sink of `write_config` holds, every whole line; empty before the file is there.

    Without what makes a chain of them: other sinks get the same events, and no chain.
    """
    path = folder / AUDIT
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [_event(line) for line in text.split("\n")[:-1]]


@lru_cache(maxsize=20_000)  # who waits for an event reads the file a hundred times a second
def _event(line: str) -> dict[str, Any]:
    return {name: value for name, value in json.loads(line).items() if not name.startswith("chain")}
