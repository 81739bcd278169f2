"""The contract of `journal.shared.Database`, sentence by sentence, for every implementation."""

import inspect

import pytest

from listener.journal.shared.database import Database

CALLS = [name for name, value in vars(Database).items() if inspect.iscoroutinefunction(value)]


@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_described(name: str):
    assert inspect.getdoc(getattr(Database, name))
