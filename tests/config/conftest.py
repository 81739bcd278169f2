import pytest

from listener.config.loading import load
from listener.errors import ConfigError
from support.config import SECRET, toml


@pytest.fixture
def loaded(tmp_path):
    """Load a table as a file, with variables and overrides."""

    def load_table(table, environ=None, **options):
        path = tmp_path / "listener.toml"
        path.write_text(table if isinstance(table, str) else toml(table), encoding="utf-8")
        return load(path, environ=environ or {}, **options)

    return load_table


@pytest.fixture
def problems(loaded):
    """What is wrong with a table, as text by place."""

    def of(table, environ=None, **options):
        with pytest.raises(ConfigError) as caught:
            loaded(table, environ, **options)
        assert SECRET not in str(caught.value)
        return {problem.path: problem.text for problem in caught.value.problems}

    return of
