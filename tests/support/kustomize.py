"""What `kustomize build` makes of our own files: the fields that they use, and an error at any other."""

import base64
import hashlib
import json
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
KNOWN = {
    "apiVersion",
    "kind",
    "namespace",
    "labels",
    "resources",
    "components",
    "images",
    "configMapGenerator",
    "secretGenerator",
    "patches",
}
CLUSTER_WIDE = {"Namespace"}
NAMED_LISTS = {"containers"}  # lists whose entries a strategic merge finds by name, among those that our patches touch


def build(folder: Path) -> list[Manifest]:
    """Every object of a kustomization, with the names of generated ones hashed and referred to.

    Raises:
        ValueError: for a field, or a patch without its object, that this resolver does not know.
    """
    found = collect(folder)
    renamed = {(each["kind"], each["metadata"]["name"]): each.pop("_hashed") for each in found if "_hashed" in each}
    for each in found:
        _rename(each, renamed)
    return found


def collect(folder: Path) -> list[Manifest]:
    """The objects with their plain names; what gets a hash carries it under `_hashed`."""
    said = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    if unknown := set(said) - KNOWN:
        raise ValueError(f"{folder}: {sorted(unknown)} is not known here")
    found: list[Manifest] = []
    for name in [*said.get("resources", ()), *said.get("components", ())]:
        path = folder / name
        found += collect(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
        for generator in said.get(key, ()):
            _generate(found, kind, generator, folder)
    for patch in said.get("patches", ()):
        content = yaml.safe_load((folder / patch["path"]).read_text(encoding="utf-8"))
        if target := patch.get("target"):
            _operate(_target(found, {**target, "metadata": target}), content)
        else:
            _merge(_target(found, content), content)
    for each in found:
        _transform(each, said)
    return found


def _generate(found: list[Manifest], kind: str, generator: Manifest, folder: Path) -> None:
    files = {Path(name).name: (folder / name).read_bytes() for name in generator["files"]}
    present = [each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, generator["name"])]
    if bool(present) != (generator.get("behavior", "create") == "replace"):
        raise ValueError(f"{kind} {generator['name']}: behavior does not fit what is there")
    made: Manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": generator["name"]}}
    if kind == "Secret":
        made |= {"type": "Opaque", "data": {name: base64.b64encode(data).decode() for name, data in files.items()}}
    else:
        made["data"] = {name: data.decode("utf-8") for name, data in files.items()}
    options = generator.get("options", {})
    if labels := options.get("labels"):
        made["metadata"]["labels"] = dict(labels)
    if not options.get("disableNameSuffixHash"):
        made["_hashed"] = f"{generator['name']}-{_suffix(made)}"
    for replaced in present:
        made["metadata"] = {**replaced["metadata"], **made["metadata"]}
    found[:] = [each for each in found if each not in present]
    found.append(made)


def _suffix(made: Manifest) -> str:
    """What kustomize puts behind a ConfigMap's name: it hashes JSON as Go writes it, and never finds the name in it."""
    hashed = {"data": made["data"], "kind": made["kind"], "name": ""}
    text = json.dumps(hashed, separators=(",", ":"), ensure_ascii=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(str.maketrans("013ae", "ghkmt"))


def _target(found: list[Manifest], patch: Manifest) -> Manifest:
    targets = [
        each
        for each in found
        if each["kind"] == patch["kind"] and each["metadata"]["name"] == patch["metadata"]["name"]
    ]
    if len(targets) != 1:
        raise ValueError(f"a patch of {patch['kind']} fits {len(targets)} objects")
    return targets[0]


def _operate(into: Manifest, operations: list[Manifest]) -> None:
    """A JSON patch (RFC 6902): `add` to a map or to the end of a list, `replace`, `remove`, `test`."""
    for each in operations:
        *path, last = (int(word) if word.isdecimal() else word for word in each["path"].split("/")[1:])
        place = reduce(getitem, path, into)
        match each["op"]:
            case "add" if isinstance(place, dict):
                place[last] = each["value"]
            case "add" if last == "-":
                place.append(each["value"])
            case "replace" if last in place:
                place[last] = each["value"]
            case "remove":
                del place[last]
            case "test" if place[last] == each["value"]:
                pass
            case _:
                raise ValueError(f"{each} does not fit what is there, or is not known here")


def _merge(into: Manifest, patch: Manifest) -> None:
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif key in NAMED_LISTS:
            by_name = {each["name"]: each for each in into[key]}
            for each in value:
                _merge(by_name[each["name"]], each)
        else:
            into[key] = value


def _transform(each: Manifest, said: Manifest) -> None:
    for group in said.get("labels", ()):
        each["metadata"].setdefault("labels", {}).update(group["pairs"])
    if "namespace" in said and each["kind"] not in CLUSTER_WIDE:
        each["metadata"]["namespace"] = said["namespace"]
    for image in said.get("images", ()):
        for container in each.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
            if container["image"].rpartition(":")[0] == image["name"]:
                container["image"] = f"{image['newName']}:{image['newTag']}"


def _rename(each: Manifest, renamed: dict[tuple[str, str], str]) -> None:
    metadata = each["metadata"]
    metadata["name"] = renamed.get((each["kind"], metadata["name"]), metadata["name"])
    for volume in each.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", ()):
        for source, key, kind in (("configMap", "name", "ConfigMap"), ("secret", "secretName", "Secret")):
            if source in volume:
                volume[source][key] = renamed.get((kind, volume[source][key]), volume[source][key])
