"""Putting the listener, as it is tested, and what it needs into another folder: an installation without a network."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from support.process import SOURCE

_OURS = "disposition-listener"
_SITE = Path(sysconfig.get_path("purelib"))
_NAME = re.compile(r"[\w.-]+")


def install_into(site: Path) -> None:
    """Fill a `site-packages` with the package of the source tree, its entry points, and its dependencies."""
    for one in _required(_OURS, set()):
        for file in one.files or ():
            if ".." not in file.parts and (source := Path(one.locate_file(file))).is_file():
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, site / file)
    shutil.copytree(SOURCE / "listener", site / "listener", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "compileall", "-q", site / "listener"], check=True)  # as pip does
    ours = importlib.metadata.distribution(_OURS)
    folder = site / f"disposition_listener-{ours.version}.dist-info"
    folder.mkdir()
    for name in ("METADATA", "entry_points.txt"):
        (folder / name).write_text(ours.read_text(name) or "", encoding="utf-8")


def _required(name: str, seen: set[str]) -> Iterator[importlib.metadata.Distribution]:
    """The installed distributions that one needs without its extras, each once; itself not among them."""
    for requirement in importlib.metadata.requires(name) or ():
        match = _NAME.match(requirement)
        if match is None or "extra ==" in requirement or match[0].lower() in seen:
            continue
        seen.add(match[0].lower())
        try:
            yield importlib.metadata.distribution(match[0])
        except importlib.metadata.PackageNotFoundError:  # a marker that this machine does not fit
            continue
        yield from _required(match[0], seen)
