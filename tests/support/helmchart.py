"""The part of Helm's templates that our chart uses: paths, files, if, with, range, and a handful of functions."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

_ACTION = re.compile(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.DOTALL)
Scope = dict[str, Any]  # the template's variables; "." and "$" among them
Nodes = list["str | tuple[str, str, Nodes, Nodes]"]


def merged(values: Any, given: Any) -> Any:
    """Values with those of a user on top, map by map, as `--values` does it."""
    if isinstance(values, Mapping) and isinstance(given, Mapping):
        return {**values, **{key: merged(values.get(key), value) for key, value in given.items()}}
    return given


def render(template: str, data: Any) -> str:
    """A template's text. Raises ValueError for what is not in this subset."""
    nodes, closing = _parse(_tokens(template))
    if closing:
        raise ValueError(f"{closing!r} closes nothing")
    return _text(nodes, {".": data, "$": data})


def _tokens(template: str) -> Iterator[tuple[bool, str]]:
    """Pieces in turn, whether each is an action; `{{-` and `-}}` have taken the white space beside them."""
    at, trim = 0, False
    for match in _ACTION.finditer(template):
        text = template[at : match.start()]
        text = text.lstrip() if trim else text
        yield False, text.rstrip() if match[1] else text
        yield True, match[2]
        at, trim = match.end(), bool(match[3])
    yield False, template[at:].lstrip() if trim else template[at:]


def _parse(tokens: Iterator[tuple[bool, str]]) -> tuple[Nodes, str]:
    """Nodes up to the `else` or `end` that closes them, and which one that was."""
    nodes: Nodes = []
    for is_action, text in tokens:
        word, _, rest = text.partition(" ")
        if not is_action:
            nodes.append(text)
        elif text in {"else", "end"}:
            return nodes, text
        elif word in {"if", "with", "range"}:
            then, closing = _parse(tokens)
            otherwise, closing = _parse(tokens) if closing == "else" else ([], closing)
            if closing != "end":
                raise ValueError(f"{text!r} is not closed")
            nodes.append((word, rest, then, otherwise))
        else:
            nodes.append(("print", text, [], []))
    return nodes, ""


def _text(nodes: Nodes, scope: Scope) -> str:
    return "".join(node if isinstance(node, str) else _node(*node, scope) for node in nodes)


def _node(word: str, expression: str, then: Nodes, otherwise: Nodes, scope: Scope) -> str:
    names, assigns, source = expression.rpartition(":=")
    value = _pipeline(source.strip() if assigns else expression, scope)
    if word == "print":
        return _printed(value)
    if not value:
        return _text(otherwise, scope)
    if word == "range":
        pairs = sorted(value.items()) if isinstance(value, Mapping) else list(enumerate(value))
        key_name, value_name = map(str.strip, names.split(",")) if assigns else ("", "")
        return "".join(_text(then, {**scope, key_name: key, value_name: each, ".": each}) for key, each in pairs)
    return _text(then, {**scope, ".": value} if word == "with" else scope)


def _printed(value: Any) -> str:
    if value is None or isinstance(value, (Mapping, list)):
        raise ValueError(f"{value!r} would be printed as Go shows it")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pipeline(expression: str, scope: Scope) -> Any:
    value: list[Any] = []
    for stage in expression.split("|"):
        head, *words = stage.split()
        arguments = [_operand(word, scope) for word in words]
        if head == ".Files.Get":
            value = [scope["$"]["Files"][arguments[0]]]
        elif head in _FUNCTIONS:
            value = [_FUNCTIONS[head](*arguments, *value)]
        elif arguments or value:
            raise ValueError(f"{head} is no function of this subset")
        else:
            value = [_operand(head, scope)]
    return value[0]


def _operand(word: str, scope: Scope) -> Any:
    if word.isdecimal():
        return int(word)
    if word.startswith('"'):
        return json.loads(word)
    start, _, path = word.partition(".")
    value = scope[start or "."]
    for key in filter(None, path.split(".")):
        if key not in value:
            raise ValueError(f"{word}: there is no {key}")
        value = value[key]
    return value


def _nindent(width: int, text: str) -> str:
    return "\n" + "\n".join(" " * width + line for line in text.splitlines())


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "contains": lambda part, text: part in text,
    "default": lambda fallback, value: value or fallback,
    "nindent": _nindent,
    "not": lambda value: not value,
    "quote": lambda value: json.dumps(str(value), ensure_ascii=False),
    "replace": lambda old, new, text: text.replace(old, new),
    "sha256sum": lambda value: hashlib.sha256(value.encode()).hexdigest(),
    "toYaml": lambda value: yaml.safe_dump(value, sort_keys=True).rstrip("\n"),
}
