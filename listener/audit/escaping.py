"""Escapes values from outside: on a terminal, in HTML and SVG, in a spreadsheet."""

import html

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the wide forms, too
_QUOTE = "'"


def printable(text: str) -> str:
    """Control characters and what cannot be encoded as their escapes: a value must not drive the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def text(value: object) -> str:
    """Anything as text between tags or in an attribute.

    What is not printable becomes a visible escape: XML forbids most control characters, and others, such as those that
    turn the direction of writing, make a value look like another one.
    """
    return html.escape(printable(str(value)))


def element(name: str, *children: str, **attributes: str | float | None) -> str:
    """An element around what is markup already. Attributes are escaped; `class_` and `aria_label` are as HTML has them.

    An attribute that is None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(children)}</{name}>"


def defused(text: str) -> str:
    """The text as a field that a spreadsheet takes for nothing but text.

    What begins with one of = + - @, their full-width forms, a tab or a line end would be run as a formula (OWASP, CSV
    Injection): it gets a ' in front. So does what has only ' before such a sign: leaving one ' out gives the text back
    in every case. Other control characters become their escapes.
    """
    return printable(_QUOTE + text if text.lstrip(_QUOTE).startswith(_FORMULA) else text)
