"""A volume as the kubelet mounts a Secret or ConfigMap: every file a link through `..data`, which is exchanged."""

from collections.abc import Mapping
from pathlib import Path


def write_volume(folder: Path, files: Mapping[str, str], *, version: int) -> None:
    """Write all files of the volume anew, in the kubelet's order: new folder, `..data`, new links, old links."""
    data = folder / f"..2026_11_29_{version}"
    data.mkdir(parents=True)
    for name, content in files.items():
        (data / name).write_text(content, encoding="utf-8")
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").replace(folder / "..data")
    for name in files:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for link in folder.iterdir():
        if not link.name.startswith("..") and link.name not in files:
            link.unlink()
