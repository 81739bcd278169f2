"""The shape of the repository: tests beside what they test, and words and places that have no business in it."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
SUFFIXES = {
    ".cfg",
    ".conf",
    ".css",
    ".html",
    ".js",
    ".json",
    ".lock",
    ".md",
    ".py",
    ".service",
    ".sh",
    ".sql",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
}
GENERATED = {"node_modules", "build", "dist", "__pycache__"}

# Source files without a test file of their name, and where they are tested instead.
TESTED_ELSEWHERE: dict[str, str] = {
    "journal/shared/database.py": "contracts/test_database.py",
    "intake/team.py": "intake/test_monitoring.py",
    "model/replica.py": "contracts/test_database.py",
    "model/team.py": "intake/test_monitoring.py",
    "testing/connection.py": "contracts/test_database.py",
    "testing/database.py": "contracts/test_database.py",
    "testing/store.py": "contracts/test_journal.py",
}

UNWANTED = {
    "unfinished work": re.compile(r"\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b"),
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(root|home|Users)/[a-z]"),
    "a package registry's address": re.compile(r"registry\.npm|pypi\.or[g]|pythonhoste[d]|--(extra-)?index-ur[l]"),
}
LOCKS = (
    "requirements.lock",
    "deploy/docker/requirements.lock",
    "deploy/docker/build.lock",
    "tests/interop/servers/package-lock.json",
)
HOST_IN_LOCK = re.compile(r'"resolved"|registry|index-ur[l]| @ http')


def without_test(sources: Iterable[Path], tests: set[Path]) -> list[str]:
    """Sources, relative to the package, whose mirrored test file is not among the tests."""
    return [
        str(source)
        for source in sources
        if source.name not in ("__init__.py", "__main__.py") and source.with_name(f"test_{source.name}") not in tests
    ]


def unwanted(text: str) -> list[str]:
    """What is unwanted in a text, with its line."""
    return [
        f"{number}: {what}: {match[0]}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in UNWANTED.items()
        if (match := pattern.search(line))
    ]


def unlocked(project: str, lock: str) -> list[str]:
    """Dependencies of the program and of its tests that the lock does not hold, by normalised name."""
    table = tomllib.loads(project)["project"]
    extras = table["optional-dependencies"]
    wanted = [*table["dependencies"], *extras["test"]]
    own = [text for text in wanted if text.startswith(f"{table.get('name')}[")]
    wanted += [text for line in own for name in re.findall(r"[\[,]([^],]+)", line) for text in extras[name]]
    names = [re.sub(r"[-_.]+", "-", re.split(r"[\s\[<>=!~;@]", text)[0]).lower() for text in wanted if text not in own]
    locked = set(re.findall(r"^([a-z0-9-]+)(?:\[[^]]+\])?==", lock, flags=re.MULTILINE))
    return [name for name in names if name not in locked]


def project_texts(folder: Path = ROOT) -> Iterator[Path]:
    """Every text file of the project; not what is generated, nor a virtual environment, whatever its name."""
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            hidden = path.name.startswith(".") and path.name != ".ci"
            if not (hidden or path.name in GENERATED or (path / "pyvenv.cfg").exists()):
                yield from project_texts(path)
        elif path.suffix in SUFFIXES or path.parent.name == ".ci":
            yield path


def test_every_source_file_has_its_test_file():
    package = ROOT / "listener"
    sources = sorted(path.relative_to(package) for path in package.rglob("*.py"))
    tests = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    missing = without_test(sources, tests)
    assert sorted(set(missing) - set(TESTED_ELSEWHERE)) == []
    assert sorted(set(TESTED_ELSEWHERE) - set(missing)) == [], "these no longer need an exception"


def test_test_folders_are_no_packages():
    """But for the console's: what its tests share is of the scope "package", so that it ends with them."""
    found = [str(path.relative_to(TESTS)) for path in TESTS.rglob("__init__.py") if "node_modules" not in path.parts]
    assert found == ["web/console/__init__.py"]


def test_no_text_of_the_project_holds_what_is_unwanted():
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in project_texts()
        if (wrong := unwanted(path.read_text(encoding="utf-8", errors="replace")))
    }
    assert found == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_say_what_to_install_and_not_from_where(lock: str):
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "sha" in text, "a lock without hashes locks nothing"
    assert HOST_IN_LOCK.findall(text) == []


def test_every_dependency_is_in_the_lock():
    """The lock itself is written by `uv pip compile`; see CONTRIBUTING.md."""
    assert unlocked((ROOT / "pyproject.toml").read_text("utf-8"), (ROOT / "requirements.lock").read_text("utf-8")) == []


def test_every_text_is_looked_at():
    names = {str(path.relative_to(ROOT)) for path in project_texts()}
    assert {"pyproject.toml", ".ci/run", "listener/errors.py", "tests/interop/servers/control.js"} <= names
    assert not any("node_modules" in name or name.startswith(".venv") for name in names)


def test_a_missing_test_file_is_found():
    sources = [Path("a.py"), Path("x/b.py"), Path("x/__init__.py")]
    assert without_test(sources, {Path("test_a.py"), Path("test_b.py")}) == ["x/b.py"]
    assert without_test(sources, {Path("test_a.py"), Path("x/test_b.py")}) == []


@pytest.mark.parametrize(
    "line",
    [
        "# TOD" + "O later",
        "XX" + "X",
        "see /ro" + "ot/project",
        "https://py" + "pi.org/simple",
        "npm at regi" + "stry.npm" + "js.org",
    ],
)
def test_what_is_unwanted_is_found(line: str):
    assert [found.partition(":")[0] for found in unwanted(f"fine\n{line}\n")] == ["2"]


@pytest.mark.parametrize("line", ["mastodon", "/api/v2/me", "https://example.com/home/page", "/var/lib/listener"])
def test_what_is_wanted_is_not(line: str):
    assert unwanted(line) == []


def test_a_dependency_that_is_not_locked_is_found():
    project = (
        '[project]\nname = "ours"\ndependencies = ["Some_Lib>=1", "other[x]>=2"]\n'
        '[project.optional-dependencies]\nbus = ["fourth>=1"]\ntest = ["ours[bus]", "third"]\n'
    )
    lock = "some-lib==1.0 \\\n    --hash=sha256:00\n"
    assert unlocked(project, lock) == ["other", "third", "fourth"]
    assert unlocked(project, f"{lock}other[x]==2.0\n") == ["third", "fourth"]
