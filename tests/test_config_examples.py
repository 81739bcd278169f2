"""The files in config/ are what people copy: they load, and they leave nothing out."""

import re
from pathlib import Path

import pytest

from listener.config import settings
from listener.config.http import HttpSettings
from listener.config.journal import JournalSettings
from listener.config.loading import load
from listener.config.settings import Settings
from listener.errors import ConfigError
from listener.sinks import registry

CONFIG = Path(__file__).parents[1] / "config"
TABLES = {
    "server": settings.ServerSettings,
    "accounts": settings.AccountSettings,
    "supervisors": settings.SupervisorSettings,
    "disposition": settings.DispositionSettings,
    "journal": JournalSettings,
    "http": HttpSettings,
    "log": settings.LogSettings,
    "sinks": settings.LaneSettings,
}


def load_copy(name: str, folder: Path, *, uncommented: bool = False) -> Settings:
    """Load an example as somebody would who has copied it and made the files that it names."""
    text = (CONFIG / name).read_text(encoding="utf-8")
    if uncommented:
        text = re.sub(r"(?m)^# (?=\w+ = )", "", text)
    for file in re.findall(r'(?m)^[a-z_]+_file = "([^"]+)"', text):
        content = "username,password\nagent3,secret\n" if file.endswith(".csv") else "secret\n"
        (folder / file).write_text(content, encoding="utf-8")
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return load(path, environ={}, sink_problems=registry.problems_of_all)


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIG.glob("*.toml")))
def test_every_example_loads_and_its_sinks_can_be_built(name: str, tmp_path: Path) -> None:
    loaded = load_copy(name, tmp_path)
    assert loaded.sinks
    for sink, lane in loaded.sinks.items():
        assert registry.build(sink, lane, base=loaded.base)


def test_the_minimal_example_needs_no_more_than_it_says(tmp_path: Path) -> None:
    loaded = load_copy("listener.toml", tmp_path)
    assert loaded.listening_accounts()[0].secret(loaded.base) == "secret"
    assert loaded.http is None


def written_keys(table: str) -> set[str]:
    """The keys, in use or commented out, of all tables of the full example whose name begins so."""
    keys: set[str] = set()
    current = ""
    for line in (CONFIG / "full.toml").read_text(encoding="utf-8").splitlines():
        if header := re.match(r"\[+([a-z.]+)\]+", line):
            current = header[1]
        elif (key := re.match(r"(?:# )?(\w+) = ", line)) and (current == table or current.startswith(f"{table}.")):
            keys.add(key[1])
    return keys


@pytest.mark.parametrize("table", TABLES)
def test_the_full_example_shows_every_key_of_a_table(table: str) -> None:
    assert set(TABLES[table].model_fields) - written_keys(table) == set()


def test_the_full_example_shows_every_key_outside_of_tables() -> None:
    assert set(Settings.model_fields) - {"base", *TABLES} == written_keys("")


def test_no_table_of_the_configuration_is_missing_here() -> None:
    assert set(TABLES) <= set(Settings.model_fields)
    assert {name for name, field in Settings.model_fields.items() if "Settings" in str(field.annotation)} == set(TABLES)


@pytest.mark.parametrize("kind", sorted(registry.kinds()))
def test_the_full_example_shows_every_built_in_kind_with_every_key(kind: str, tmp_path: Path) -> None:
    loaded = load_copy("full.toml", tmp_path)
    assert kind in {lane.type for lane in loaded.sinks.values()}
    shown = registry.kinds()[kind].load().settings.model_fields
    assert set(shown) <= written_keys("sinks")


def test_the_values_in_the_full_example_are_the_defaults(tmp_path: Path) -> None:
    loaded = load_copy("full.toml", tmp_path)
    tables = [
        loaded,
        loaded.server,
        loaded.disposition,
        loaded.journal,
        loaded.http,
        loaded.log,
        *loaded.sinks.values(),
    ]
    for table in tables:
        for name, field in type(table).model_fields.items():
            if not field.is_required() and name not in (*TABLES, "base"):
                assert getattr(table, name) == field.get_default(), name
    for lane in loaded.sinks.values():
        fields = registry.kinds()[lane.type].load().settings.model_fields
        for name, value in lane.options.items():
            if not fields[name].is_required():
                assert value == fields[name].get_default(call_default_factory=True), name


def test_what_is_commented_out_is_valid_as_well(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_copy("full.toml", tmp_path, uncommented=True)
    assert [str(problem) for problem in caught.value.problems] == [
        "journal: give either password or password_file",
        'sinks.audit: format = "template" and template = "…" go together',
        "http.token_file: give either token or token_file",
        "sinks.crm: give either password or password_file",
        "sinks.log: give either password or password_file",
        "sinks.bus: give either password or password_file",
        "sinks.rabbit: give either password or password_file",
        "sinks.stream: give either password or password_file",
        "sinks.table: give either password or password_file",
    ]
