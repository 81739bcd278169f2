"""deploy/grafana/dashboard.json: panels that ask for what the process has, in expressions that Prometheus can read."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from support.promql import unknown_metrics
from support.tools import need

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboard.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    for panel in PANELS:
        yield from (target["expr"] for target in panel["targets"])


def test_every_metric_of_the_dashboard_exists():
    assert len(PANELS) > 15
    assert unknown_metrics(FILE.read_text(encoding="utf-8")) == set()
    assert unknown_metrics("rate(disposition_listener_sink_parkd[5m])") == {"disposition_listener_sink_parkd"}


def test_prometheus_can_read_every_expression(tmp_path: Path):
    plain = [text.replace("$__rate_interval", "5m").replace("$", "") for text in expressions()]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(plain)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    command = [need("promtool", package="prometheus"), "check", "rules", tmp_path / "rules.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_keeps_to_the_variables_and_has_its_own_place():
    names = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    for text in expressions():
        assert set(re.findall(r"\$(\w+)", text)) - {"__rate_interval"} == {"job", "instance"} <= names
    identifiers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(x for x, _ in cells) < 24
