"""No kind without its contract."""

from pathlib import Path

import pytest

from listener.sinks import registry

CONTRACTS = Path(__file__).parent


@pytest.mark.parametrize("kind", sorted(registry.kinds()))
def test_every_kind_passes_the_contract_suite(kind):
    text = (CONTRACTS / f"test_sink_{kind}.py").read_text(encoding="utf-8")
    assert "(SinkContract):" in text
