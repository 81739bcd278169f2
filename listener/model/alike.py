"""Texts of one cause made alike: what differs from case to case is taken out, so that they can be counted together."""

import re
from collections.abc import Iterator

# Ports, moments, durations and sizes, long numbers, ids.
_DIFFERS = re.compile(
    r"(?<=[\w\]]):\d{2,5}\b"
    r"|\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\b\d+(?:\.\d+)?(?= ?(?:ms|s|min|h|d|seconds?|minutes?|hours?|days?|bytes|B|[KMG]i?B)\b)"
    r"|\b(?=[0-9a-fA-F-]*\d)[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){2,}[0-9a-fA-F-]*\b"
    r"|\b\d{4,}(?:\.\d+)?\b"
)


def alike(text: str, name: str = "") -> str:
    """The text with `…` for what differs, and for a name wherever that stands as a word.

    Short numbers stay: statuses of HTTP and of the Web Services tell causes apart.
    """
    return _DIFFERS.sub("…", "".join(_without(text, name)) if name and name in text else text)


def _without(text: str, name: str) -> Iterator[str]:
    begin = 0
    while (at := text.find(name, begin)) >= 0:
        end = at + len(name)
        is_inside = _is_of_a_word(text[at - 1 : at]) or _is_of_a_word(text[end : end + 1])
        yield text[begin:end] if is_inside else f"{text[begin:at]}…"
        begin = end
    yield text[begin:]


def _is_of_a_word(character: str) -> bool:
    return character.isalnum() or character == "_"
