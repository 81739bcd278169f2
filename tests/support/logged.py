"""Every event name that the daemon can log, read from its source."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "listener"
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
ELSEWHERE = ("simulator", "testing")  # which are no part of the daemon


def events() -> dict[str, list[str]]:
    """The levels of each event name, sorted; `exception` is an error."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in ELSEWHERE:
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for level, name in _of(function):
                    found.setdefault(name, set()).add("error" if level == "exception" else level)
    return {name: sorted(levels) for name, levels in found.items()}


def _of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[tuple[str, str]]:
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and _is_log(node)]
    return [(call.func.attr, name) for call in calls for name in _names(call.args[0], function)]  # type: ignore[attr-defined]


def _is_log(call: ast.Call) -> bool:
    name = call.func
    if not isinstance(name, ast.Attribute) or not call.args:
        return False
    if name.attr == "log" and "get_logger" in ast.unparse(name.value):
        return False
    return name.attr in LEVELS and "log" in ast.unparse(name.value).lower()


def _names(argument: ast.expr, function: ast.AST) -> list[str]:
    """The texts that an argument can be: one, two of a condition, or those assigned to a name in the same function."""
    if isinstance(argument, ast.Name):
        values = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == argument.id
        ]
        return [name for value in values for name in _names(value, function)]
    if isinstance(argument, ast.IfExp):
        return [*_names(argument.body, function), *_names(argument.orelse, function)]
    return [argument.value] if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else []
