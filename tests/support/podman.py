"""Containers in a storage of their own: this machine's images, volumes and locks are not touched."""

import configparser
import json
import os
import shlex
import shutil
import subprocess
import sys
from ast import literal_eval
from pathlib import Path
from typing import Any, Self

from support.config import toml
from support.process import SOURCE
from support.tools import lacking, need

IMAGE = "localhost/disposition-listener:latest"
BASE = "localhost/python:3.13-slim"
_RELEASE = "trixie"  # Debian's, whose Python is 3.13
_PACKAGES = "ca-certificates,netbase,tzdata,python3-pip,python3-venv,python-is-python3"
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
# As Python's own images are: pip may install beside the distribution's packages, and there is no bytecode.
_HOOK = 'rm "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED; find "$1/usr" -name "*.pyc" -delete'
_OF_THE_NETWORK = {"cert", "client-cert", "extra-index-url", "index-url", "proxy", "retries", "timeout", "trusted-host"}
_LIMITS = ["nofile=4096:4096", "nproc=4096:4096"]  # no more than this process may give away
_README = SOURCE / "deploy" / "docker" / "README.md"


def readme_command(start: str) -> list[str]:
    """The words of the command of deploy/docker/README.md that begins so."""
    text = _README.read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = (line for line in text.splitlines() if line.startswith(start))
    return shlex.split(line, comments=True)


class Podman:
    """podman, with all that it keeps in one folder. As a context manager it takes everything away at the end.

    Entering it skips the test without root, or where a tool is missing. Containers have the host's network unless they
    say otherwise. What remains is an empty control group, `libpod_parent`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stored = folder / "storage"

    def __enter__(self) -> Self:
        for tool, package in {"podman": "podman", "runc": "runc", "conmon": "conmon", "catatonit": "catatonit"}.items():
            need(tool, package=package)
        if os.geteuid() != 0:
            lacking("only root may run containers with limits and other users")
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "containers.conf").write_text(toml(self._settings()), encoding="utf-8")
        return self

    def _settings(self) -> dict[str, dict[str, Any]]:
        """For machines without systemd, and for containers that get no more of its limits than this process has."""
        engine = {"cgroup_manager": "cgroupfs", "events_logger": "file", "lock_type": "file", "runtime": "runc"}
        return {
            "containers": {"netns": "host", "utsns": "host", "log_driver": "k8s-file", "default_ulimits": _LIMITS},
            "engine": {**engine, "tmp_dir": str(self._folder / "tmp")},
        }

    def __exit__(self, *exc_info: object) -> None:
        for words in (("pod", "rm"), ("rm",), ("volume", "rm")):
            self.attempt(*words, "--all", "--force", *([] if "volume" in words else ["--time=0"]))
        subprocess.run(["umount", self._stored / "overlay"], capture_output=True, check=False)
        shutil.rmtree(self._folder)

    def attempt(self, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command of podman's. Blocks."""
        places = ("--root", self._stored, "--runroot", self._folder / "run")
        env = {"PATH": os.environ["PATH"], "CONTAINERS_CONF": str(self._folder / "containers.conf")}
        env |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        command = ["podman", *places, *words]
        return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)

    def run(self, *words: str | Path, cwd: Path | None = None) -> str:
        """Run a command of podman's, which has to succeed; its standard output. Blocks."""
        done = self.attempt(*words, cwd=cwd)
        assert done.returncode == 0, f"podman {shlex.join(map(str, words))}: {done.returncode}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def inspect(self, name: str, *, what: str = "container") -> Any:
        """What podman knows of a container or an image."""
        (found,) = json.loads(self.run(what, "inspect", name))
        return found

    def process(self, name: str) -> dict[str, str]:
        """What the kernel says of a container's first process, by the names of proc_pid_status(5)."""
        text = Path(f"/proc/{self.inspect(name)['State']['Pid']}/status").read_text(encoding="utf-8")
        return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}

    def writable(self, name: str) -> set[str]:
        """What a container's user may write to: of its own files all, of what is mounted there the topmost folder."""
        found = "find / -xdev -writable -not -type l 2>/dev/null || :"
        return set(self.run("exec", name, "sh", "-c", found).splitlines())

    def import_base(self) -> None:
        """Make an image like Python's slim one, of Debian's packages; no registry is asked."""
        mmdebstrap = need("mmdebstrap", package="mmdebstrap")
        archive = self._folder / "base.tar"
        options = ["--variant=minbase", "--mode=root", "--quiet", f"--include={_PACKAGES}", f"--customize-hook={_HOOK}"]
        options += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
        done = subprocess.run([mmdebstrap, *options, _RELEASE, archive], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lacking(f"mmdebstrap cannot make a Debian here: {done.stderr[-400:]}")
        self.run("import", "--change", "ENV PATH=/usr/local/bin:/usr/bin:/bin", archive, BASE)
        archive.unlink()

    def build(self, *, tag: str = IMAGE) -> None:
        """Build the image of this tree as deploy/docker/README.md says, anew, from `import_base`'s base."""
        podman, verb, *words = readme_command("podman build")
        assert (podman, verb, words[-3:]) == ("podman", "build", ["-t", "disposition-listener", "."])
        anew = ["--isolation=chroot", "--pull=never", "--no-cache", "--layers=false"]
        self.run(
            verb,
            *anew,
            f"--build-arg=PYTHON_IMAGE={BASE}",
            *self._lent_to_pip(),
            *words[:-3],
            "-t",
            tag,
            ".",
            cwd=SOURCE,
        )

    def _lent_to_pip(self) -> list[str]:
        """Volumes of a build with the settings by which pip finds packages here; they do not come into the image."""
        listed = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True)
        pairs = [line.partition("=")[::2] for line in listed.splitlines()]
        pairs.sort(key=lambda pair: pair[0].startswith(":env:"))  # the environment has the last word
        said = {name.rpartition(".")[2]: str(literal_eval(value)) for name, value in pairs}
        config = configparser.RawConfigParser()
        config["global"] = {name: value for name, value in said.items() if name in _OF_THE_NETWORK}
        volumes = [f"--volume={self._folder / 'pip.conf'}:/etc/pip.conf:ro"]
        if (cert := said.get("cert")) is not None:
            config["global"]["cert"] = "/run/authorities.pem"
            volumes.append(f"--volume={cert}:/run/authorities.pem:ro")
        with (self._folder / "pip.conf").open("w", encoding="utf-8") as file:
            config.write(file)
        return volumes
