"""The page for people: what goes out of the package, and what may run in it."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp
import pytest

from listener.web import console
from listener.web.console import INDEX, TYPES, packaged
from support.pages import TOKEN, Pages, bearer, raw, running

ROOT = Path(__file__).parents[2]
FILES = sorted(packaged())
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)


async def test_the_page_is_answered_with_its_policy(http: aiohttp.ClientSession):
    for path in ("/", f"/console/{INDEX}"):
        response = await http.get(path)
        assert (response.status, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert await response.read() == (ROOT / "listener/web/console" / INDEX).read_bytes()
        assert response.headers["Content-Security-Policy"] == POLICY
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
async def test_a_file_comes_as_what_it_is_and_again_only_when_it_has_changed(http: aiohttp.ClientSession, name: str):
    response = await http.get(f"/console/{name}")
    assert (response.status, response.headers["Content-Type"]) == (200, TYPES[Path(name).suffix])
    assert (response.headers["Cache-Control"], response.headers["Content-Security-Policy"]) == ("no-cache", POLICY)
    tag = response.headers["ETag"]
    for shown in (tag, f"W/{tag}", f'"other", {tag}'):
        again = await http.get(f"/console/{name}", headers={"If-None-Match": shown})
        assert (again.status, again.headers["ETag"], await again.read()) == (304, tag, b"")
        assert (again.headers["Cache-Control"], again.headers["Content-Security-Policy"]) == ("no-cache", POLICY)
    assert (await http.get(f"/console/{name}", headers={"If-None-Match": '"other"'})).status == 200
    head = await http.head(f"/console/{name}")
    assert (head.status, head.headers["ETag"], await head.read()) == (200, tag, b"")


async def test_the_page_holds_no_data_and_needs_no_token(pages: Pages):
    async with (
        running(pages.server(token=lambda: TOKEN)) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http,
    ):
        for path in ("/", *(f"/console/{name}" for name in FILES)):
            assert (await http.get(path)).status == 200
            assert (await http.get(path, headers=bearer("wrong"))).status == 200
        for path in ("/events", "/events.json", "/dead-letters.json"):
            assert (await http.get(path)).status == 401
            assert (await http.get(path, headers=bearer("wrong"))).status == 401


@pytest.mark.parametrize(
    "name",
    [
        *("..%2fconsole.py", "%2e%2e", "..", "index.html%00", "INDEX.HTML", ".", "index.html/", "%ff"),
        "x" * 3000,
        "__init__.py",
    ],
)
async def test_no_other_file_is_reached(pages: Pages, name: str):
    async with running(pages.server()) as server:
        answer = await raw(server.port, f"GET /console/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 ")


def test_nothing_runs_in_the_page_but_its_own_files():
    """What the policy would refuse, a reader of the page would miss."""
    page = packaged()[INDEX].body.decode()
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:|<base|https?://", page) == []
    assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []
    named = set(re.findall(r"(?:src|href)=\"?/console/([^\"\s>]+)", page))
    assert named
    assert named - set(FILES) == set()


def test_every_file_beside_the_page_is_served():
    there = {path.name for path in Path(console.__file__).with_name("console").iterdir()}
    assert there == set(FILES)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in the wheel that the project's own build makes."""
    folder = tmp_path_factory.mktemp("wheel")
    build = (
        "import os, sys; from setuptools import build_meta;os.chdir(sys.argv[1]); build_meta.build_wheel(sys.argv[2])"
    )
    copy = folder / "project"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "listener"):
        (copy / name).symlink_to(ROOT / name)
    done = subprocess.run([sys.executable, "-c", build, copy, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_the_page(wheel: set[str]):
    assert {f"listener/web/console/{name}" for name in FILES} <= wheel
    assert "listener/journal/sqlite/schema.sql" in wheel
