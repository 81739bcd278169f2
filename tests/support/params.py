"""Cases of which the ordinary suite plays some, and `-m long` the others."""

from collections.abc import Iterable
from typing import Any

import pytest


def some_of(cases: Iterable[str], *usual: str) -> list[Any]:
    """All cases, for `parametrize`; those that are not usual are long."""
    assert set(usual) <= set(cases), usual
    return [case if case in usual else pytest.param(case, marks=pytest.mark.long) for case in cases]
