"""A StatefulSet's pod as `podman play kube` takes it, and a Secret as the kubelet lays it into a pod."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]


def kind(objects: list[Manifest], name: str) -> Manifest:
    """The one object of this kind."""
    (found,) = (each for each in objects if each["kind"] == name)
    return found


def probe_path(objects: list[Manifest], probe: str) -> str:
    """Where a probe asks; it must name the port that the container declares."""
    (container,) = kind(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    asked = container[probe]["httpGet"]
    assert asked["port"] in {port["name"] for port in container["ports"]}
    return str(asked["path"])


def secret_files(objects: list[Manifest]) -> dict[str, bytes]:
    """What is in the one Secret, decoded."""
    return {name: base64.b64decode(text) for name, text in kind(objects, "Secret")["data"].items()}


def playable(objects: list[Manifest], *, image: str, secrets: Path) -> str:
    """The first pod of the StatefulSet, its ConfigMap and its claim, on the host's network.

    podman 4.3 differs from Kubernetes in what has to be taken out here: it fills the files of a Secret with base64, so
    that a folder stands in for it; it maps no ports on the host's network; it asks probes with the container's curl.
    """
    stateful = kind(objects, "StatefulSet")
    template, (claim,) = stateful["spec"]["template"], stateful["spec"]["volumeClaimTemplates"]
    name = f"{stateful['metadata']['name']}-0"
    volume = claim["metadata"]["name"]
    spec = {**template["spec"], "hostNetwork": True}
    spec["containers"] = [{**each, "image": image, "imagePullPolicy": "Never"} for each in spec["containers"]]
    for container in spec["containers"]:
        for field in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
            del container[field]
    folder = {"path": str(secrets), "type": "Directory"}
    volumes = spec["volumes"]
    spec["volumes"] = [{"name": each["name"], "hostPath": folder} if "secret" in each else each for each in volumes]
    spec["volumes"].append({"name": volume, "persistentVolumeClaim": {"claimName": f"{volume}-{name}"}})
    config = kind(objects, "ConfigMap")
    documents = [
        {**claim, "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": f"{volume}-{name}"}},
        {**config, "metadata": {"name": config["metadata"]["name"]}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**template["metadata"], "name": name}, "spec": spec},
    ]
    return yaml.safe_dump_all(documents)


class ProjectedSecret:
    """A volume of a Secret: files of root's, readable by the pod's group, that are all replaced at one moment."""

    def __init__(self, folder: Path, files: Mapping[str, bytes], *, group: int, mode: int) -> None:
        self.folder = folder
        self._group, self._mode, self._versions = group, mode, 0
        folder.mkdir(mode=0o755)
        for name in files:
            (folder / name).symlink_to(f"..data/{name}")
        self.replace(files)

    def replace(self, files: Mapping[str, bytes]) -> None:
        """Lay the new files beside the old ones, and turn the link to them."""
        self._versions += 1
        version = self.folder / f"..{self._versions}"
        version.mkdir(mode=0o755)
        for name, data in files.items():
            (version / name).write_bytes(data)
            (version / name).chmod(self._mode)
            os.chown(version / name, 0, self._group)
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").rename(self.folder / "..data")
