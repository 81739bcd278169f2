"""deploy/docker: the image is built as its README says, twice the same, and runs without rights on a read-only root."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.config import AUDIT
from support.eventually import eventually
from support.podman import BASE, IMAGE, Podman, readme_command
from support.process import SOURCE

pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]

CONFIG = "/etc/disposition-listener/listener.toml"
STATE = "/var/lib/disposition-listener"
CHAT = "0000Na9B26EF003M"
USER = 65532
NO_RIGHTS = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}


@contextlib.contextmanager
def mounted(podman: Podman, tag: str) -> Iterator[Path]:
    """The files of an image."""
    yield Path(podman.run("image", "mount", tag))
    podman.run("image", "unmount", tag)


def described(root: Path) -> dict[str, tuple[Any, ...]]:
    """Every file, link and folder below, by its path: type and rights, owner, and what is in it."""
    return {str(path.relative_to(root)): _described(path) for path in root.rglob("*")}


def _described(path: Path) -> tuple[Any, ...]:
    found = path.lstat()
    if path.is_symlink():
        content = str(path.readlink())
    else:
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    return found.st_mode, found.st_uid, found.st_gid, content


def test_it_tells_what_it_is_and_how_it_wants_to_be_run(podman: Podman):
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    image = podman.inspect(IMAGE, what="image")
    config = image["Config"]
    labels = {name.rpartition(".")[2]: text for name, text in config["Labels"].items() if "opencontainers" in name}
    assert (labels["title"], labels["version"]) == (project["name"], project["version"])
    assert labels["licenses"] == project["license"]
    assert (config["User"], config["StopSignal"]) == (f"{USER}:{USER}", "SIGTERM")
    assert image["Healthcheck"]["Test"][0] == "CMD"
    assert list(config["Volumes"]) == [STATE]
    assert podman.run("run", "--rm", IMAGE, "--version") == f"{project['name']} {project['version']}"


def test_it_holds_nothing_of_its_build_and_all_bytecode(podman: Podman):
    with mounted(podman, IMAGE) as root, mounted(podman, BASE) as base:
        ours, (library,) = root / "opt/disposition-listener", root.glob("usr/lib/python3.*")
        added = sum(path.lstat().st_size for path in ours.rglob("*"))
        new = {path.name for path in root.iterdir()} - {path.name for path in base.iterdir()}
        sources = [*ours.rglob("*.py"), *(path for path in library.rglob("*.py") if "test" not in path.parts)]
        bare = [path for path in sources if not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))]
    assert new == set()
    assert added < 130e6
    assert len(sources) > 1500
    assert bare == [], "a read-only root never gets any"


def test_a_second_build_installs_the_same(podman: Podman):
    podman.build(tag="localhost/disposition-listener:again")
    with mounted(podman, IMAGE) as one, mounted(podman, "localhost/disposition-listener:again") as two:
        first, second = described(one), described(two)
    assert len(first) > 3000
    assert {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)} == set()


class Container:
    """The README's container, alone on a network of its own, with a site in it to listen to."""

    def __init__(self, podman: Podman, folder: Path, *, url: str = "http://127.0.0.1:8080") -> None:
        self._podman, self.name = podman, folder.name
        etc = folder / "etc"
        etc.mkdir()
        text = (SOURCE / "deploy/kubernetes/base/listener.toml").read_text(encoding="utf-8")
        (etc / "listener.toml").write_text(text.replace("https://gws.example.com", url), encoding="utf-8")
        for name in ("agent1.secret", "http.token"):
            (etc / name).write_text("secret\n", encoding="utf-8")
            shutil.chown(etc / name, USER, USER)
            (etc / name).chmod(0o400)
        words = [word.replace("$PWD", str(folder)) for word in readme_command("podman run")[1:]]
        words.remove("-d")
        for option in ("--name", "-p"):  # nothing is published from a network of its own
            at = words.index(option)
            del words[at : at + 2]
        own = ["--name", self.name, "--network=none", "--read-only-tmpfs=false"]  # as docker runs it
        self._words = [words[0], *own, *words[1:-1], IMAGE]

    def start(self) -> None:
        self._podman.run(self._words[0], "--detach", *self._words[1:])

    def run(self) -> tuple[int, str]:
        """In the foreground, until it ends; its status and standard error."""
        done = self._podman.attempt(*self._words)
        return done.returncode, done.stderr

    def exec(self, *words: str) -> str:
        return self._podman.run("exec", self.name, *words)

    def site(self) -> None:
        """A simulated one, inside."""
        self._podman.run("exec", "--detach", self.name, "disposition-listener", "simulate", "--ack")

    def is_healthy(self) -> bool:
        return self._podman.attempt("healthcheck", "run", self.name).returncode == 0

    def state(self) -> Any:
        return self._podman.inspect(self.name)["State"]

    def log(self) -> str:
        done = self._podman.attempt("logs", self.name)
        return done.stdout + done.stderr

    async def logged(self, event: str, *, count: int = 1) -> None:
        await eventually(lambda: self.log().count(f'"{event}"') >= count, interval_s=0.2, what=self.log)


@pytest.fixture
def container(podman: Podman, tmp_path: Path) -> Iterator[Container]:
    yield (made := Container(podman, tmp_path))
    podman.attempt("rm", "--force", "--volumes", "--time=0", made.name)
    podman.attempt("volume", "rm", "--force", "listener-state")


async def test_the_readmes_container_has_no_rights_and_does_its_work(podman: Podman, container: Container):
    container.start()
    await container.logged("http_listening")
    status = podman.process(container.name)
    assert {name: int(status[name], 16) for name in NO_RIGHTS} == dict.fromkeys(NO_RIGHTS, 0)
    assert set(status["Uid"].split() + status["Gid"].split()) == {str(USER)}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert container.exec("stat", "-c", "%u %g %a", STATE) == f"{USER} {USER} 750"
    assert podman.writable(container.name) == {STATE}
    container.site()
    await container.logged("subscribed")
    container.exec("disposition-listener", "set-disposition", "--config", CONFIG, CHAT, "sold")
    text = await eventually(lambda: container.exec("cat", f"{STATE}/{AUDIT}"), interval_s=0.2)
    assert [json.loads(line)["data"]["disposition"] for line in text.splitlines()] == ["sold"]
    assert "running" in container.exec("disposition-listener", "sinks", "list", "--config", CONFIG)


async def test_its_health_check_follows_the_process(container: Container):
    container.start()
    await container.logged("http_listening")
    assert container.is_healthy()
    process = container.state()["Pid"]
    os.kill(process, signal.SIGSTOP)
    assert not container.is_healthy()
    os.kill(process, signal.SIGCONT)
    assert container.is_healthy()


async def test_it_takes_a_new_configuration_over_and_ends_when_it_is_told_to(podman: Podman, container: Container):
    container.start()
    await container.logged("http_listening")
    podman.run("kill", "--signal", "HUP", container.name)
    await container.logged("sinks_resumed")
    podman.run("stop", container.name)
    assert container.state()["ExitCode"] == 0, "it was not killed"


def test_a_configuration_that_cannot_be_used_ends_it_with_78_and_says_why(podman: Podman, tmp_path: Path):
    status, told = Container(podman, tmp_path, url="gws.example.com").run()
    assert status == 78
    assert "server.url" in told
