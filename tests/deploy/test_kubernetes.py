"""deploy/kubernetes: what kustomize and Helm make of it is valid, restricted, and runs our configuration."""

import base64
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from listener.daemon.assembly import load_checked
from support.helmchart import merged, render
from support.kustomize import build
from support.tools import lacking

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
CHART = KUBERNETES / "chart"
VERSIONS = ("1.28", "1.33", "1.37")
KUSTOMIZATIONS = ("base", "overlays/laboratory", "overlays/production", "overlays/replicas")
VALUES: dict[str, dict[str, Any]] = {
    "as they are": {},
    "everything on": {
        "image": {"tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
        "secrets": {"agent1.secret": 'a "quoted" one: #1', "http.token": "token"},
        "agentsSecret": "agents",
        "persistence": {"storageClass": "fast", "accessMode": "ReadWriteOncePod"},
        "networkPolicy": {"egressPorts": [443, 9093]},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {
            "enabled": True,
            "labels": {"release": "prometheus"},
            "runbookUrl": "https://wiki.example.com/listener",
        },
        "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Contact center"}},
        "podAnnotations": {"example.com/owner": "contact-center"},
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
        "priorityClassName": "important",
    },
    "replicas": {
        "replicas": {"enabled": True},
        "config": (KUBERNETES / "overlays/replicas/listener.toml").read_text(encoding="utf-8"),
        "networkPolicy": {"egressPorts": [443, 5432, 9093]},
    },
    "everything off": {
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
}


def chart(given: dict[str, Any]) -> list[dict[str, Any]]:
    """The chart's objects for these values, by our renderer of its subset of templates."""
    texts = [rendered(path.name, given) for path in sorted((CHART / "templates").glob("*.yaml"))]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def rendered(template: str, given: dict[str, Any]) -> str:
    """What one of the chart's templates becomes with these values."""
    data = {
        "Values": merged(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), given),
        "Release": {"Name": "north", "Service": "Helm", "Namespace": "dispositions"},
        "Chart": {"AppVersion": yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]},
        "Files": {f"files/{path.name}": path.read_text(encoding="utf-8") for path in (CHART / "files").iterdir()},
    }
    return render((CHART / "templates" / template).read_text(encoding="utf-8"), data)


RENDERED = {name: cache(partial(build, KUBERNETES / name)) for name in KUSTOMIZATIONS} | {
    f"chart, {name}": cache(partial(chart, given)) for name, given in VALUES.items()
}
REPLICAS = ("overlays/replicas", "chart, replicas")


@pytest.fixture(params=RENDERED)
def objects(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return RENDERED[request.param]()


def kind(objects: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = (each for each in objects if each["kind"] == name)
    return found


def configuration(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The ConfigMap that the pod mounts."""
    (found,) = (each for each in objects if each["kind"] == "ConfigMap" and "listener.toml" in each["data"])
    return found


def workload(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """What makes the pods."""
    (found,) = (each for each in objects if each["kind"] in {"StatefulSet", "Deployment"})
    return found


def complaints(made: dict[str, list[dict[str, Any]]], version: str, folder: Path) -> str:
    """What kubernetes-validate finds in objects, by a name for them; unknown kinds too, and empty where all is well."""
    if importlib.util.find_spec("kubernetes_validate") is None:
        lacking("kubernetes-validate is not installed (pip install kubernetes-validate)")
    files = [folder / f"{name.replace('/', '-')}.yaml" for name in made]
    for file, objects in zip(files, made.values(), strict=True):
        file.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "--quiet", "-k", version, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit status {done.returncode}")


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object_without_a_warning(version: str, tmp_path: Path):
    """What is the Prometheus Operator's, no schema here knows; see its tests below."""
    operators = {"ServiceMonitor", "PrometheusRule"}
    made = {name: [each for each in make() if each["kind"] not in operators] for name, make in RENDERED.items()}
    assert complaints(made, version, tmp_path) == ""


def test_what_is_not_valid_is_found(tmp_path: Path):
    objects = build(KUBERNETES / "base")
    kind(objects, "StatefulSet")["spec"]["replicaz"] = 1
    objects.append({"apiVersion": "example.com/v1", "kind": "Unknown", "metadata": {"name": "x"}})
    found = complaints({"good": build(KUBERNETES / "base"), "bad": objects}, VERSIONS[0], tmp_path)
    assert "replicaz" in found
    assert "WARN" in found


def test_the_pod_is_as_pod_security_restricted_wants_it(objects):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, Restricted; and a read-only root."""
    pod = workload(objects)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert {next(key for key in volume if key != "name") for volume in pod["volumes"]} <= {
        "configMap",
        "secret",
        "emptyDir",
    }
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} <= set(container["resources"])


@pytest.mark.parametrize("name", [name for name in RENDERED if name not in REPLICAS])
def test_one_process_owns_the_journal_on_a_volume_and_waits_for_a_quiet_moment(name: str):
    objects = RENDERED[name]()
    spec = kind(objects, "StatefulSet")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["replicas"] == 1
    assert spec["serviceName"] == kind(objects, "Service")["metadata"]["name"]
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["state"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts["state"] == "/var/lib/disposition-listener"
    allowed = [each["spec"]["maxUnavailable"] for each in objects if each["kind"] == "PodDisruptionBudget"]
    assert allowed == {"chart, everything off": [], "overlays/laboratory": [1]}.get(name, [0])


@pytest.mark.parametrize("name", REPLICAS)
def test_replicas_keep_nothing_on_their_nodes_and_go_one_at_a_time(name: str):
    objects = RENDERED[name]()
    spec = kind(objects, "Deployment")["spec"]
    pod = spec["template"]["spec"]
    assert spec["replicas"] == 3
    assert not {"serviceName", "volumeClaimTemplates", "persistentVolumeClaimRetentionPolicy"} & set(spec)
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert kind(objects, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    ports = [port["port"] for rule in kind(objects, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
    assert 5432 in ports
    (state,) = (mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "state")
    assert state == {"name": "state", "mountPath": "/var/lib/disposition-listener", "readOnly": True}
    assert {"name": "state", "emptyDir": {}} in pod["volumes"]
    spread = {each["topologyKey"]: each for each in pod["topologySpreadConstraints"]}
    assert spread["kubernetes.io/hostname"]["whenUnsatisfiable"] == "DoNotSchedule"
    assert spread["topology.kubernetes.io/zone"]["whenUnsatisfiable"] == "ScheduleAnyway"
    labels = spec["template"]["metadata"]["labels"]
    assert all(each["labelSelector"]["matchLabels"].items() <= labels.items() for each in spread.values())


def test_the_pod_asks_for_its_probes_and_mounts_what_it_has(objects):
    spec = workload(objects)["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", ())}
    assert set(mounts) == claims | {volume["name"] for volume in pod["volumes"]}
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["args"][-1] == f"{mounts['config']}/listener.toml"


def test_every_selector_and_every_name_leads_somewhere(objects):
    """A selector that fits no pod makes a NetworkPolicy or a budget that protects nothing."""
    made = workload(objects)
    labels = made["spec"]["template"]["metadata"]["labels"]
    service = kind(objects, "Service")
    selectors = [made["spec"]["selector"]["matchLabels"], service["spec"]["selector"]]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in objects if each["kind"] == "PodDisruptionBudget"]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in objects if each["kind"] == "NetworkPolicy"]
    assert all(selector and selector.items() <= labels.items() for selector in selectors)
    volumes = {volume["name"]: volume for volume in made["spec"]["template"]["spec"]["volumes"]}
    assert volumes["config"]["configMap"]["name"] == configuration(objects)["metadata"]["name"]
    account = kind(objects, "ServiceAccount")["metadata"]["name"]
    assert made["spec"]["template"]["spec"]["serviceAccountName"] == account
    for secret in (each for each in objects if each["kind"] == "Secret"):
        assert volumes["secrets"]["secret"]["secretName"] == secret["metadata"]["name"]


def test_the_configuration_is_one_that_the_listener_takes(objects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a secret of each name in CREDENTIALS_DIRECTORY, as the pod has it, and the folder of the journal here."""
    (name, text), *others = configuration(objects)["data"].items()
    assert (name, others) == ("listener.toml", [])
    (tmp_path / name).write_text(text.replace("/var/lib/disposition-listener", str(tmp_path)), encoding="utf-8")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for secret in ("agent1.secret", "journal.secret", "kafka.secret", "http.token"):
        (credentials / secret).write_text("not-a-real-one\n", encoding="utf-8")
    (credentials / "agents.csv").write_text("username,password\nagent1,not-a-real-one\n", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    settings = load_checked(tmp_path / name)
    assert settings.http is not None
    assert settings.http.address == ("0.0.0.0", 9464)  # noqa: S104 - inside of a pod
    assert settings.http.token_file is not None
    assert settings.shutdown_timeout_s < workload(objects)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]


def test_a_secret_of_agents_is_a_whole_folder_that_accounts_file_can_name():
    for given in ({"agentsSecret": "agents"}, {"agentsSecret": "agents", **VALUES["replicas"]}):
        spec = workload(chart(given))["spec"]["template"]["spec"]
        (mount,) = (one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "agents")
        assert mount == {"name": "agents", "mountPath": "/run/credentials/agents", "readOnly": True}
        (volume,) = (one["secret"] for one in spec["volumes"] if one["name"] == "agents")
        assert volume == {"secretName": "agents", "defaultMode": 0o440}


def test_a_service_monitor_brings_the_token_and_finds_the_service():
    overlays = (build(KUBERNETES / "overlays" / name) for name in ("production", "replicas"))
    for objects in (*overlays, chart(VALUES["everything on"])):
        monitor, service = kind(objects, "ServiceMonitor"), kind(objects, "Service")
        assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
        volumes = workload(objects)["spec"]["template"]["spec"]["volumes"]
        (secret,) = (volume["secret"]["secretName"] for volume in volumes if volume["name"] == "secrets")
        assert endpoint["authorization"]["credentials"] == {"name": secret, "key": "http.token"}


ALERTS = (KUBERNETES.parent / "prometheus/alerts.yaml").read_text(encoding="utf-8")
DASHBOARD = (KUBERNETES.parent / "grafana/dashboard.json").read_text(encoding="utf-8")
MONITORED = ("overlays/production", "overlays/replicas", "chart, everything on")


@pytest.mark.parametrize("name", MONITORED)
def test_the_alert_rules_are_those_of_prometheus_and_lead_to_the_runbooks(name: str):
    rule = kind(RENDERED[name](), "PrometheusRule")
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    base = VALUES["everything on"]["prometheusRule"]["runbookUrl"] if "chart" in name else "deploy/runbooks"
    assert rule["spec"] == yaml.safe_load(ALERTS.replace("deploy/runbooks", base))
    urls = [each["annotations"]["runbook_url"] for group in rule["spec"]["groups"] for each in group["rules"]]
    assert {url.rpartition("/")[0] for url in urls} == {base}


def test_the_component_repeats_the_alert_rules_line_by_line():
    copy = (KUBERNETES / "components/prometheusrule/prometheusrule.yaml").read_text(encoding="utf-8")
    assert copy.partition("spec:\n")[2] == textwrap.indent(ALERTS, "  ")


@pytest.mark.parametrize("name", MONITORED)
def test_grafanas_sidecar_finds_the_dashboard(name: str):
    """By the label that Grafana's chart looks for, `sidecar.dashboards.label`."""
    (made,) = (each for each in RENDERED[name]() if each["metadata"]["name"].endswith("-dashboard"))
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = made["data"].values()
    assert json.loads(text) == json.loads(DASHBOARD)


def test_the_notes_say_what_is_not_set_and_nothing_of_what_is():
    todo = rendered("NOTES.txt", {}).partition("Still to do:")[2]
    named = ["gws.example.com", "Secret `disposition-listener`", "serviceMonitor.enabled", "prometheusRule.enabled"]
    assert [text for text in named if text not in todo] == []
    done = VALUES["everything on"] | {"config": "", "secrets": {}}
    todo = rendered("NOTES.txt", done).partition("Still to do:")[2]
    assert [text for text in named if text in todo] == named[1:2]
    assert "StatefulSet" not in todo


@pytest.mark.parametrize("name", VALUES)
def test_the_notes_show_commands_that_find_the_pod(name: str):
    objects, text = chart(VALUES[name]), rendered("NOTES.txt", VALUES[name])
    made = workload(objects)
    assert f"rollout status {made['kind'].lower()}/{made['metadata']['name']}" in text
    assert "deployment/" not in text or made["kind"] == "Deployment"
    assert max(map(len, text.splitlines())) <= 160


def test_a_changed_configuration_makes_a_new_pod_and_a_changed_secret_does_not(tmp_path: Path):
    shutil.copytree(KUBERNETES, tmp_path / "k")
    laboratory = tmp_path / "k/overlays/laboratory"
    before = build(laboratory)
    (laboratory / "secrets/agent1.secret").write_text("another\n", encoding="utf-8")
    changed_secret = build(laboratory)
    assert kind(changed_secret, "StatefulSet") == kind(before, "StatefulSet")
    assert base64.b64decode(kind(changed_secret, "Secret")["data"]["agent1.secret"]) == b"another\n"
    with (tmp_path / "k/base/listener.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    assert kind(build(laboratory), "StatefulSet") != kind(before, "StatefulSet")
    templates = [kind(chart(given), "StatefulSet")["spec"]["template"] for given in ({}, {"config": "# changed"})]
    assert templates[0] != templates[1]


def test_overlays_change_what_they_name_and_leave_the_rest():
    base, production = build(KUBERNETES / "base"), build(KUBERNETES / "overlays/production")
    (plain,), (patched,) = (
        kind(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"] for objects in (base, production)
    )
    assert patched["image"] == "registry.example.com/disposition-listener:0.1.0"
    assert patched["resources"] != plain["resources"]
    assert {**patched, "image": 0, "resources": 0} == {**plain, "image": 0, "resources": 0}
    assert {each["metadata"].get("namespace") for each in production} == {None, "dispositions-production"}
    assert kind(production, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", VALUES)
def test_the_schema_of_the_values_takes_what_is_right(name: str):
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = merged(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), VALUES[name])
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    jsonschema_rs.meta.validate(schema)
    assert [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(values)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 2},
        {"replicas": {"count": 1}},
        {"image": {"tag": "with space"}},
        {"config": ""},
        {"secrets": {"a/b": "x"}},
        {"secrets": {"agent1.secret": ""}},
        {"persistence": {"size": "20"}},
        {"persistence": {"accessMode": "ReadWriteMany"}},
        {"podDisruptionBudget": {"maxUnavailable": 2}},
        {"networkPolicy": {"egressPorts": [70000]}},
        {"serviceMonitor": {"enabled": "yes"}},
        {"prometheusRule": {"runbookUrl": "https://wiki.example.com/"}},
        {"prometheusRule": {"runbookUrl": "wiki"}},
        {"dashboard": {"labels": {"grafana_dashboard": 1}}},
        {"terminationGracePeriodSeconds": 5},
    ],
    ids=str,
)
def test_the_schema_of_the_values_refuses_what_is_wrong(wrong: dict[str, Any]):
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = merged(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")), wrong)
    assert not pytest.importorskip("jsonschema_rs").validator_for(schema).is_valid(values)


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Each value with its path, down to where the schema names no more members."""
    for name, value in values.items():
        below = schema["properties"][name]
        if "properties" in below:
            yield from leaves(value, below, f"{path}{name}.")
        else:
            yield path + name, value


def test_every_value_of_the_chart_is_in_its_schema_on_its_page_and_used():
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert set(values) == set(schema["properties"]) - {"global"}
    known = dict(leaves(values, schema))
    templates = "".join(path.read_text(encoding="utf-8") for path in (CHART / "templates").glob("*.yaml"))
    assert [name for name in known if f".Values.{name}" not in templates and name.split(".")[0] != "resources"] == []
    page = (CHART / "README.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `([\w.]+)` \| `?([^`|]+)`? \|", page, re.MULTILINE))
    assert told.pop("config") == "an example"
    del known["config"]
    assert {name: yaml.safe_load(default) for name, default in told.items()} == known


def test_secrets_arrive_as_they_were_given():
    given = VALUES["everything on"]
    assert kind(chart(given), "Secret")["stringData"] == given["secrets"]
    assert not [each for each in chart({}) if each["kind"] == "Secret"]


def by_name(objects: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Objects by kind and name."""
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_kustomize_makes_the_same_of_the_folders(name: str):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed (no Debian package; https://kubernetes.io)")
    made = subprocess.run([kubectl, "kustomize", KUBERNETES / name], capture_output=True, text=True, check=True).stdout
    assert by_name(yaml.safe_load_all(made)) == by_name(build(KUBERNETES / name))


@pytest.mark.parametrize("name", VALUES)
def test_helm_makes_the_same_of_the_chart(name: str, tmp_path: Path):
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed (no Debian package; https://helm.sh)")
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(VALUES[name]), encoding="utf-8")
    command = [helm, "template", "north", CHART, "--namespace", "dispositions", "--kube-version", VERSIONS[0]]
    command += ["--values", tmp_path / "values.yaml"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert by_name(filter(None, yaml.safe_load_all(made))) == by_name(chart(VALUES[name]))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("a\n{{- if .x }}\nb\n{{- else }}\nc\n{{- end }}\n", "a\nb\n"),
        ("{{ if .none }}b{{ else }}c{{ end }}", "c"),
        ("{{ with .map }}{{ toYaml . | nindent 2 }}{{ end }}", "\n  k: v"),
        ("{{ range $k, $v := .map }}{{ $k }}={{ $v | quote }}{{ end }}", 'k="v"'),
        ("{{ range .list }}[{{ . }}{{ $.x }}]{{ end }}", "[1yes][2yes]"),
        ("{{ .none | default .x }} {{ .yes }}", "yes true"),
        ('{{ if contains "es" .x }}{{ .x | replace "y" "l" }}{{ end }}', "les"),
    ],
)
def test_the_renderer_does_what_go_does(template: str, text: str):
    data = {"x": "yes", "none": "", "map": {"k": "v"}, "list": [1, 2], "yes": True}
    assert render(template, data) == text


@pytest.mark.parametrize(
    "template", ["{{ .absent }}", "{{ include . }}", "{{ if .x }}", "{{ end }}", "{{ .map }}", "{{ .x | upper }}"]
)
def test_the_renderer_refuses_what_it_does_not_know(template: str):
    with pytest.raises(ValueError, match=r"."):
        render(template, {"x": "yes", "map": {}})
