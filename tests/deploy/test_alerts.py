"""deploy/prometheus and deploy/runbooks: rules that Prometheus takes, that fire, and a page for each."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.commands import commands
from support.promql import unknown_metrics
from support.tools import need

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS, RUNBOOKS = DEPLOY / "prometheus", DEPLOY / "runbooks"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
PAGES = sorted(RUNBOOKS.glob("*.md"))


def promtool(*arguments: str, folder: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    command = [need("promtool", package="prometheus"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_prometheus_takes_the_rules():
    done = promtool("check", "rules", "alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_silent_and_fires_as_its_test_says():
    done = promtool("test", "rules", "alerts.test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_no_longer_fires_fails_its_test(tmp_path: Path):
    rules = (PROMETHEUS / "alerts.yaml").read_text(encoding="utf-8")
    (tmp_path / "alerts.yaml").write_text(rules.replace("sink_parked == 1", "sink_parked == 2"), encoding="utf-8")
    its = yaml.safe_load((PROMETHEUS / "alerts.test.yaml").read_text(encoding="utf-8"))
    its["tests"] = [one for one in its["tests"] if "DispositionListenerSinkParked" in str(one["alert_rule_test"])]
    (tmp_path / "alerts.test.yaml").write_text(yaml.safe_dump(its), encoding="utf-8")
    done = promtool("test", "rules", "alerts.test.yaml", folder=tmp_path)
    assert "DispositionListenerSinkParked" in done.stdout + done.stderr
    assert done.returncode != 0


def test_every_alert_is_tested_both_ways():
    tests = yaml.safe_load((PROMETHEUS / "alerts.test.yaml").read_text(encoding="utf-8"))["tests"]
    checked = {(each["alertname"], bool(each["exp_alerts"])) for test in tests for each in test["alert_rule_test"]}
    assert checked == {(rule["alert"], fires) for rule in RULES for fires in (True, False)}


def test_every_metric_of_an_alert_exists():
    expressions = [rule["expr"] for rule in RULES]
    assert [unknown_metrics(expression) for expression in expressions if unknown_metrics(expression)] == []


def test_each_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on():
    for rule in RULES:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook_url"] == f"deploy/runbooks/{rule['alert']}.md"


def test_the_links_lead_where_the_pages_are_published():
    """The line of deploy/README.md, as it stands there."""
    (line,) = re.findall(r"^sed .*(?= > )", (DEPLOY / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    made = subprocess.run(["bash", "-c", line], cwd=DEPLOY.parent, capture_output=True, text=True, check=True).stdout
    rules = [rule for group in yaml.safe_load(made)["groups"] for rule in group["rules"]]
    urls = [rule["annotations"]["runbook_url"] for rule in rules]
    assert urls == [f"https://wiki.example.com/listener/{rule['alert']}.md" for rule in RULES]


def test_each_alert_has_its_page_and_each_page_its_alert():
    assert [page.stem for page in PAGES] == sorted(rule["alert"] for rule in RULES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_it_means_what_to_look_at_and_what_to_do(page: Path):
    text = page.read_text(encoding="utf-8")
    headings = [f"# {page.stem}", "## What it means", "## What to look at", "## What to do"]
    assert re.findall(r"(?m)^#.*", text) == headings
    assert unknown_metrics(text) == set()
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if not (RUNBOOKS / link).is_file()] == []


def test_every_command_of_a_page_exists():
    known = commands()
    texts = " ".join(page.read_text(encoding="utf-8") for page in PAGES)
    used = set(re.findall(r"disposition-listener\s([a-z][a-z-]+)\s([a-z]+)?", texts))
    assert len(used) > 5
    assert [words for words in used if words not in known and words[:1] not in known] == []
