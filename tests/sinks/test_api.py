"""The surface that sinks of others are written against: these names, each of them documented."""

import inspect
import re
from pathlib import Path

import pytest

from listener.sinks import api
from listener.testing import contract

CONTRIBUTING = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMES = {
    *("Event", "Section", "SinkContext", "SinkKind", "Sink"),
    *("Retry", "Park", "Reject", "Refusal", "StartError"),
    *("TlsSettings", "LoginSettings", "secret_of", "report_durability"),
}


def test_these_are_its_names():
    assert set(api.__all__) == NAMES
    assert {name for name in vars(api) if not name.startswith("_")} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_is_documented(name: str):
    assert inspect.getdoc(getattr(api, name)), "without a docstring"
    assert f"`{name}`" in str(api.__doc__) or re.search(rf"`{name}[.`]", str(api.__doc__))
    assert re.search(rf"\b{name}\b", CONTRIBUTING), "CONTRIBUTING.md does not name it"


def test_the_contract_suite_is_where_it_says():
    assert f"`SinkContract`, is in `{contract.__name__}`" in str(api.__doc__)
    assert contract.SinkContract.__doc__
