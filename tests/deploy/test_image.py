"""deploy/docker: what the image holds is locked, it runs without rights, and its health check tells the truth."""

import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
LINES = (DOCKER / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
PINNED = re.compile(r"^([a-z0-9-]+)(?:\[[^]]+\])?==([^\s;]+)", re.MULTILINE)


def instructions(name: str) -> list[str]:
    found = (re.fullmatch(rf"\s*{name}\s+(.*)", line) for line in LINES)
    return [match[1] for match in found if match]


def locked(path: Path) -> dict[str, str]:
    return dict(PINNED.findall(path.read_text(encoding="utf-8")))


def test_the_image_is_locked_to_the_versions_that_the_tests_ran_with():
    image, project = locked(DOCKER / "requirements.lock"), locked(ROOT / "requirements.lock")
    assert {name: version for name, version in image.items() if project.get(name, version) != version} == {}
    assert locked(DOCKER / "build.lock") == {"setuptools": project["setuptools"]}
    assert "pytest" not in image


def test_the_image_has_the_program_and_every_kind_of_sink():
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        name: wanted
        for name, wanted in table["optional-dependencies"].items()
        if name not in {"test", "simulation", "dev", "bench"}
    }
    wanted = [*table["dependencies"], *(each for extra in extras.values() for each in extra)]
    names = {re.split(r"[\s\[<>=!~;]", each)[0].lower() for each in wanted}
    assert names - set(locked(DOCKER / "requirements.lock")) == set()


def test_nothing_is_installed_that_no_lock_names():
    installs = re.findall(r"pip(?: --python \S+)? (?:install|wheel) [^&]*", " && ".join(instructions("RUN")))
    assert len(installs) == 4
    for command in installs:
        assert "--no-deps" in command
        assert "--require-hashes" in command or "--no-index" in command or "--no-build-isolation -w wheels ." in command


def test_the_image_runs_without_rights_and_copies_only_what_it_needs():
    assert instructions("USER") == ["65532:65532"]
    assert instructions("FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    assert instructions("ARG")[0].endswith("/python:3.13-slim")
    for sources in instructions("COPY"):
        for source in sources.split()[:-1]:
            assert source.startswith(("--from", "/opt/")) or (ROOT / source).exists()
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["disposition-listener"]
    assert json.loads(instructions("CMD")[-1])[:2] == ["run", "--config"]


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server whose /livez answers so, and nothing else does; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Nothing is printed."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def is_healthy(port: int) -> bool:
    """What the health check of the file says of a listener on this port, behind a proxy that leads nowhere."""
    (check,) = (line for line in LINES if line.startswith("HEALTHCHECK"))
    python, *arguments = json.loads(check.partition("CMD ")[2])
    assert python == "python"
    words = [word.replace(":9464/", f":{port}/") for word in arguments]
    environ = {"http_proxy": "http://127.0.0.1:9"}
    return subprocess.run([sys.executable, *words], env=environ, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False)])
def test_the_health_check_tells_what_livez_answers(status: int, healthy: bool):
    with answering(status) as port:
        assert is_healthy(port) is healthy


def test_nobody_listening_is_not_healthy():
    with answering(200) as port:
        pass
    assert not is_healthy(port)
