"""What a command's help says beyond its options: examples and exit statuses, out of its docstring."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from typer.core import TyperCommand

STATUSES: Mapping[str, str] = MappingProxyType(
    {
        "0": "Done, or stopped on request.",
        "1": "It failed: standard error says why.",
        "2": "Wrong usage.",
        "78": "The configuration cannot be used.",
        "130": "Interrupted with Ctrl-C while it worked.",
    }
)
"""What each exit status means, unless a command says more."""

_SECTION = re.compile(r"^(Examples|Exit status):\n((?:(?:    .*)?\n?)*)", re.MULTILINE)
_STATUS = re.compile(r"^    ([\d +n]+): (.*(?:\n     .*)*)", re.MULTILINE)


class Explanation(NamedTuple):
    """A command's docstring in its parts: the text, lines that can be copied, and what is true of it alone."""

    text: str
    examples: Sequence[str] = ()
    statuses: Mapping[str, str] = MappingProxyType({})


def explanation(docstring: str) -> Explanation:
    """The parts of a docstring without indentation.

    `Examples:` is followed by indented lines, commands and comments (`# …`) as in a shell. `Exit status:` is followed
    by indented lines such as `1: The trail is not proven.`, for what `STATUSES` says less well.
    """
    sections = dict(_SECTION.findall(docstring + "\n"))
    statuses = {status: " ".join(text.split()) for status, text in _STATUS.findall(sections.get("Exit status", ""))}
    examples = [line[4:] for line in sections.get("Examples", "").splitlines() if line.strip()]
    return Explanation(_SECTION.sub("", docstring + "\n").strip(), examples, statuses)


class ExplainedCommand(TyperCommand):
    """A command whose docstring may have the sections `Examples:` and `Exit status:`."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self.explanation = explanation(more.get("help") or "")
        super().__init__(*arguments, **{**more, "help": self.explanation.text})

    @property
    def statuses(self) -> dict[str, str]:
        """Every exit status that it can have, in their order, with its meaning."""
        known = {**STATUSES, **self.explanation.statuses}
        return {status: known[status] for status in sorted(known, key=lambda status: int(status.split()[0]))}

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help as typer writes it, then examples and exit statuses, plain on a terminal too."""
        super().format_help(ctx, formatter)
        if self.explanation.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.explanation.examples))
        with formatter.section("Exit status"):
            formatter.write_dl(list(self.statuses.items()))
