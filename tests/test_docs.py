"""The documents against the code: what a reader copies out of them, or looks up by them, is there and works."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from listener.daemon.assembly import load_checked
from listener.model.forms import CLOUD_EVENT, DATA_FIELDS
from listener.runtime.metrics import PREFIX, TABLE
from listener.sinks.registry import kinds
from listener.testing import sample_event
from listener.web.openapi import description
from support.commands import commands
from support.logged import events

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "listener"
PAGES = sorted(
    path for pattern in ("*.md", "docs/*.md", "deploy/**/*.md", "tests/benchmarks/*.md") for path in ROOT.glob(pattern)
)
COMMANDS = commands()
LONGEST = {"README.md": 150, "ARCHITECTURE.md": 200}
LARGEST_PICTURE = 150_000
FILE = re.compile(r"([\w.-]+/)+[\w.-]+\.(py|js|sql|lua|md|toml)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


README, METRICS, HTTP = read("README.md"), read("docs/metrics.md"), read("docs/http.md")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    """What stands between backticks, outside of blocks; its lines as one."""
    outside = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`((?:[^`\n]|\n(?!\n))+)`", outside)]


def page(path: Path) -> str:
    """A page as a test's parameter shows it."""
    return str(path.relative_to(ROOT))


every_page = pytest.mark.parametrize("path", PAGES, ids=page)


@pytest.mark.parametrize("name", LONGEST)
def test_a_page_that_everybody_reads_stays_short(name: str):
    assert len(read(name).splitlines()) <= LONGEST[name]


def anchors(path: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_link_leads_somewhere(path: Path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)|(?:href|src)=\"([^\"]+)\"", text)
    for link in filter(lambda link: "://" not in link, map("".join, links)):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_one_click_from_the_readme_and_from_the_list():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {link.removeprefix("docs/") for link in re.findall(r"\]\((docs/[^)#]+\.md)\)", README)} == pages
    assert set(re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", read("docs/README.md"), re.MULTILINE)) == pages


def test_the_readme_shows_pictures_that_load_quickly():
    pictures = set(re.findall(r"docs/images/[\w-]+\.(?:png|svg)", README))
    assert pictures == {"docs/images/console.png", "docs/images/tail.svg"}
    assert all(0 < (ROOT / picture).stat().st_size <= LARGEST_PICTURE for picture in pictures)
    assert "http" not in re.sub(r'xmlns="[^"]+"|<!--.*?-->', "", read("docs/images/tail.svg"))


@every_page
def test_every_file_that_is_named_exists(path: Path):
    named = [name for name in spans(path.read_text(encoding="utf-8")) if FILE.fullmatch(name)]
    assert [name for name in named if not any((base / name).exists() for base in (ROOT, SOURCE, path.parent))] == []


@pytest.mark.parametrize("package", sorted(SOURCE.glob("*/__init__.py")), ids=page)
def test_a_package_names_modules_that_it_has(package: Path):
    named = re.findall(r"`([\w.-]+\.(?:py|js))`", package.read_text(encoding="utf-8"))
    assert [name for name in named if not list(package.parent.rglob(name))] == []


def defined(file: Path) -> Iterator[str]:
    """The names that a module defines: functions, classes, their methods, constants."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
            yield from (f"{node.name}.{getattr(each, 'name', '')}" for each in getattr(node, "body", ()))
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def test_what_the_architecture_tells_to_look_at_is_there():
    named = re.findall(r"`([\w/]+\.py)` `([\w.]+)`", read("ARCHITECTURE.md"))
    assert len(named) > 30
    assert [(file, name) for file, name in named if name not in set(defined(SOURCE / file))] == []


def test_the_architecture_shows_every_room():
    rooms = {path.name for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    shown = re.findall(r"^\| \d \| `([\w.]+)/?`", read("ARCHITECTURE.md"), re.MULTILINE)
    assert sorted(shown) == sorted(rooms - {"__init__.py"})


def test_the_readmes_configuration_passes_the_check(tmp_path: Path):
    (snippet,) = blocks(README, "toml")
    (tmp_path / "agent1.secret").write_text("not a real one\n", encoding="utf-8")
    config = tmp_path / "listener.toml"
    config.write_text(snippet, encoding="utf-8")
    settings = load_checked(config, environ={})
    assert sorted(settings.sinks) == ["audit", "crm"]


def test_the_events_that_are_shown_have_the_fields_of_real_ones():
    event, gap = map(json.loads, blocks(read("docs/events.md"), "json"))
    real = json.loads(CLOUD_EVENT.body(sample_event(1)))
    assert (set(event), set(event["data"])) == (set(real), set(real["data"]))
    assert set(event["data"]) | set(gap) == set(DATA_FIELDS)


GROUPS = {command[0] for command in COMMANDS if len(command) > 1}
SHOWN = re.compile(rf"disposition-listener ([a-z][^|#>&\n]*)|^((?:{'|'.join(GROUPS)}) [a-z].*)", re.MULTILINE)


def shown(text: str) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Each command that a text shows, with its options; one of a group also without the program's name."""
    lines = "\n".join([*blocks(text.replace("\\\n", ""), "sh"), *spans(text)])
    for words in map(str.split, map("".join, SHOWN.findall(lines))):
        named = 2 if words[0] in GROUPS and words[1:] and words[1].isalpha() else 1
        yield tuple(words[:named]), {word for word in words if re.match("--?[a-z]", word)}


@every_page
def test_every_command_that_is_shown_exists_with_its_options(path: Path):
    for command, options in shown(path.read_text(encoding="utf-8")):
        assert command in COMMANDS, command
        assert options - COMMANDS[command] == set(), command


def test_every_command_is_listed_with_all_its_options():
    listed = {}
    for row in re.findall(r"^\| `([^`]+)` \|", read("docs/operations.md"), re.MULTILINE):
        words = [word for word in row.split() if word.islower() and word.replace("-", "").isalpha()]
        if words:
            listed[tuple(words)] = set(re.findall(r"--[a-z-]+", row))
    assert set(listed) == {command for command in COMMANDS if len(command) > 1 or command[0] not in GROUPS}
    of_many = {"--help", "--config", "--path"}
    wrong = {command: (COMMANDS[command] ^ options) - of_many for command, options in listed.items()}
    assert {command: {one for one in options if one.startswith("--")} for command, options in wrong.items()} == {
        command: set() for command in listed
    }


def test_every_kind_of_sink_is_listed_with_what_it_needs():
    listed = {row[0]: row[3] for row in rows(read("docs/sinks.md")) if len(row) == 4}
    extras = {name: point.load().extra for name, point in kinds().items()}
    assert listed == {name: f"disposition-listener[{extra}]" if extra else "-" for name, extra in extras.items()}


def test_ci_runs_what_the_readme_says():
    ci = read(".ci/run")
    demo, test = (block for block in blocks(README, "sh") if "venv" in block)
    assert len(demo.strip().splitlines()) == len(test.strip().splitlines()) == 1
    for words in ("disposition-listener demo",):
        assert words in demo
        assert words in ci
    for words in ("'.[test]'", "python -m pytest"):
        assert words in test
        assert words.replace("python -m", 'python" -m') in ci


def rows(text: str) -> list[list[str]]:
    """The tables of a document, cell by cell, without their heads."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.replace("`", "").strip() for cell in line] for line in lines]


def test_every_metric_is_documented_and_every_documented_metric_is_one():
    documented = {row[0]: row[1:] for row in rows(METRICS) if row[0].startswith(PREFIX) and len(row) == 4}
    table = {PREFIX + row.name: [row.kind.__name__.lower(), ", ".join(row.labels) or "-", row.help] for row in TABLE}
    assert documented == table


def test_the_alerts_and_texts_of_the_documents_name_metrics_that_are():
    known = {PREFIX + row.name for row in TABLE} | {row.name for row in TABLE}
    named = set(re.findall(rf"{PREFIX}\w+", METRICS)) | set(re.findall(r"`(\w+_(?:total|seconds))`", METRICS + HTTP))
    assert len(named) > len(TABLE)
    assert named - known == set()


def test_every_path_is_documented_and_every_documented_path_is_one():
    described = description(secured=True)["paths"]
    paths = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert {row[0] for row in rows(HTTP)} == paths


def figures(row: str, text: str) -> list[float]:
    """The numbers of the first row that begins so, commas and units left out."""
    line = re.findall(rf"^\| {re.escape(row)}[^|]*\|(.*)\|$", text, re.MULTILINE)[0]
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", line)]


def test_the_capacity_of_each_size_follows_from_the_formulas_and_these_from_what_was_measured():
    """Within a tenth of what was rounded; the benchmarks may be written anew with figures that differ by a quarter."""
    page, measured = read("docs/capacity.md"), read("docs/performance.md")
    per_event = [
        figures(name, page)[0] for name in ("journal, with last values", "audit file, chained", "audit file, closed")
    ]
    base, session = figures("memory", page)[:2]
    cpu, alone = figures("CPU", page.partition("## Formulas")[2])[:2]
    assert base == pytest.approx(figures("500,000", measured)[0], rel=0.25)
    assert session == pytest.approx(
        max(float(each) for each in re.findall(r"KiB a session \| (\d+)", measured)), rel=0.25
    )
    assert cpu == pytest.approx(figures("disposition-listener | yes", measured)[0], rel=0.25)
    table = page.partition("## Three sizes")[2]
    agents = [50, 500, 5000]
    events = [number * 50 * 2 for number in agents]
    assert figures("events a day", table) == events
    wanted = {
        "events a second": [number / 8 / 3600 for number in events],
        "journal, 30 days": [number * 30 * per_event[0] / 1e9 for number in events],
        "audit file, a day": [number * per_event[1] / 1e6 for number in events],
        "audit files, a year": [number * 365 * per_event[2] / 1e9 for number in events],
        "memory": [base + number * session / 1024 for number in agents],
        "CPU a day": [number * cpu * alone / 1e6 for number in events],
    }
    told = {name: figures(name, table) for name in wanted}
    assert {name: pytest.approx(values, rel=0.1, abs=0.06) for name, values in wanted.items()} == told


UNITS = ("disposition-listener.service", "disposition-listener@.service")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit_and_little_that_it_may_do(tmp_path: Path, unit: str):
    text = (ROOT / "deploy/systemd" / unit).read_text(encoding="utf-8")
    installed = tmp_path / unit.replace("@.", "@north.")
    installed.write_text(text.replace("/opt/disposition-listener/bin/disposition-listener", "/bin/true"), "utf-8")
    for words in (["verify"], ["security", "--offline=yes", "--threshold=11"]):  # an exposure of 1.1 at most
        done = subprocess.run(["systemd-analyze", *words, installed], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_units_differ_only_where_they_have_to():
    one, template = ((ROOT / "deploy/systemd" / unit).read_text(encoding="utf-8").splitlines() for unit in UNITS)
    own = [line for line in template if line not in one and not line.startswith("#")]
    assert [line.partition("=")[0] for line in own if "%i" not in line] == ["SocketBindAllow"]
    assert len([line for line in one if line not in template and not line.startswith("#")]) == len(own) - 1  # User=


@pytest.mark.parametrize("which", [0, 1], ids=["one host", "several"])
def test_the_services_configuration_passes_the_check_where_its_credentials_are(tmp_path: Path, which: int):
    snippet = blocks(read("deploy/systemd/README.md"), "toml")[which]
    config = tmp_path / "listener.toml"
    config.write_text(snippet.replace("/var/lib/disposition-listener", str(tmp_path)), encoding="utf-8")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for secret in ("agent1", "journal"):
        (credentials / f"secrets_{secret}.secret").write_text("not a real one\n", encoding="utf-8")
    assert load_checked(config, environ={"CREDENTIALS_DIRECTORY": str(credentials)}).accounts[0].username == "agent1"


# Event names that stand in no call of a logger in so many words.
BEYOND_CALLS = {"http_refused": ["error", "warning"], "library_log": ["critical", "error", "warning"]}


def test_every_event_of_the_log_is_documented_and_every_documented_one_is_logged():
    documented = {row[0]: row[1].split(", ") for row in rows(read("docs/logs.md"))}
    assert documented == events() | BEYOND_CALLS
