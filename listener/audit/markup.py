"""Text and elements of HTML and SVG; whatever is put in stays text."""

import html

Value = str | int | float


def text(value: object) -> str:
    """Anything as text between tags or in an attribute.

    What is not printable becomes a visible escape: XML forbids most control characters, and others, such as those that
    turn the direction of writing, make a value look like another one.
    """
    plain = str(value)
    if not plain.isprintable():
        plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in plain)
    return html.escape(plain)


def element(name: str, *children: str, **attributes: Value | None) -> str:
    """An element around what is markup already. Attributes are escaped; `class_` and `aria_label` are as HTML has them.

    An attribute that is None is left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(children)}</{name}>"
