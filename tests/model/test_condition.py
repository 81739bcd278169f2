import pytest

from listener.model.condition import Configuration, ReadinessProblem


@pytest.mark.parametrize("value", [Configuration(loaded_ms=1), ReadinessProblem(brief="a", full="b")])
def test_what_is_told_does_not_change_afterwards(value):
    with pytest.raises(AttributeError):
        value.problems = ("late",)
