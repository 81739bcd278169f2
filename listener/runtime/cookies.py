"""A `Set-Cookie` header without its date: what a server sets is kept for the session, whatever any clock says.

The date of a cookie is by the server's clock. Where that is hours behind, a login cookie is past its date when it
comes, and every login would be lost at once. That a cookie is too old is told by the server's refusal.
"""

import re

_SECONDS = re.compile(r"-?[0-9]{1,18}")
_EPOCH = re.compile(r"\b(?:1970|01-Jan-70)\b")
_DATES = ("expires", "max-age")


def without_date(header: str) -> str:
    """The header without `Expires` and `Max-Age`; one that deletes its cookie does so by any clock.

    Servers delete with `Max-Age=0`, the first day of all clocks, or a date in the past and an empty value.
    """
    cookie, *attributes = header.split(";")
    dates = {}
    kept = [cookie]
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        if name.strip().lower() in _DATES:
            dates[name.strip().lower()] = value.strip()
        else:
            kept.append(attribute)
    _, _, value = cookie.partition("=")
    max_age = dates.get("max-age", "")
    is_over = int(max_age) <= 0 if _SECONDS.fullmatch(max_age) else bool(_EPOCH.search(dates.get("expires", "")))
    if dates and (is_over or not value.strip(' "')):
        kept.append(" Max-Age=0")
    return ";".join(kept)
