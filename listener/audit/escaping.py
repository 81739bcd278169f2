"""Values from outside as text in HTML and SVG."""

import html

from listener.model.escaping import printable


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
