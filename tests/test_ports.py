"""The ports are contracts: each operation is described, and nothing in them is an implementation."""

import ast
import inspect
import textwrap
import typing

import pytest

from listener import ports
from listener.ports import Duties, Journal, Reopens, ShowsExchanges, Sink

PORTS = (Journal, Duties, Sink, Reopens, ShowsExchanges)
OPERATIONS = [
    (port, name)
    for port in PORTS
    for name, value in vars(port).items()
    if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
]


def test_every_class_of_the_module_is_a_protocol():
    classes = [cls for cls in vars(ports).values() if inspect.isclass(cls) and cls.__module__ == ports.__name__]
    assert set(classes) == set(PORTS)
    assert all(getattr(cls, "_is_protocol", False) for cls in classes)


@pytest.mark.parametrize(("port", "name"), OPERATIONS, ids=lambda value: getattr(value, "__name__", value))
def test_every_operation_is_described_typed_and_without_a_body(port: type, name: str):
    function = getattr(port, name)
    function = function.fget if isinstance(function, property) else function
    assert inspect.getdoc(function)
    hints = typing.get_type_hints(function)
    assert {"return", *inspect.signature(function).parameters} - {"self"} == hints.keys()
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    assert len(definition.body) == 1, "a docstring and nothing else"
