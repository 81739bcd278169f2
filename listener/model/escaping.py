"""Texts from outside that drive neither a terminal nor a spreadsheet."""

from collections.abc import Iterable

_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the wide forms, too
_QUOTE = "'"
_BEFORE_A_SIGN = f'{_QUOTE} "'
"""What may stand before a sign and is no reason to take the rest for text: some programs leave it out."""


_NOT_PLAIN = bytes(range(0x20)) + b"\"'+=@\x7f"


def printable(text: str) -> str:
    """Control characters and what cannot be encoded as their escapes: a value must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def defused(text: str) -> str:
    """The text without a formula in it, and with control characters as their escapes.

    What begins with one of = + - @, their full-width forms, a tab or a line end would be run (OWASP, CSV Injection): it
    gets a ' in front. Programs that split at semicolons, as many of Europe's do, see a beginning behind each of them.
    Leaving one ' out before each such sign gives the text back.
    """
    return printable(";".join(map(_defused, text.split(";"))))


def is_plain(cells: Iterable[str]) -> bool:
    """Whether each cell is certainly itself when it is defused and put in quotes; asked once for a whole row.

    What is not ASCII is left to `defused`.
    """
    row = ";" + ";".join(cells)
    if not row.isascii() or ";-" in row or " -" in row:
        return False
    written = row.encode()
    return len(written.translate(None, _NOT_PLAIN)) == len(written)


def cell(text: str) -> str:
    """The defused text in quotes (RFC 4180, 2.5 to 2.7)."""
    return '"' + defused(text).replace('"', '""') + '"'


def _defused(piece: str) -> str:
    return _QUOTE + piece if piece.lstrip(_BEFORE_A_SIGN).startswith(_SIGNS) else piece
