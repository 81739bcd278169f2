"""The cookie jar of an account: what a server sets is kept for the session, whatever any clock says."""

import re
from collections.abc import Sequence

import aiohttp
from yarl import URL

_SECONDS = re.compile(r"-?[0-9]{1,18}")
_EPOCH = re.compile(r"\b(?:1970|01-Jan-70)\b")


class SessionCookieJar(aiohttp.CookieJar):
    """Keeps every cookie until the server deletes or replaces it.

    The date of a cookie is by the server's clock. Where that is behind, a login cookie is past its date when it comes,
    and every login would be lost at once. A cookie that is too old is told by the server's refusal.
    """

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        """Take the `Set-Cookie` headers of an answer."""
        super().update_cookies_from_headers([_without_date(header) for header in headers], response_url)


def _without_date(header: str) -> str:
    """The header without `Expires` and `Max-Age`; one that deletes its cookie does so by any clock.

    Servers delete with `Max-Age=0`, the first day of all clocks, or a date in the past and an empty value.
    """
    cookie, *attributes = header.split(";")
    dates = {}
    kept = [cookie]
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        if name.strip().lower() in ("expires", "max-age"):
            dates[name.strip().lower()] = value.strip()
        else:
            kept.append(attribute)
    _, _, value = cookie.partition("=")
    max_age = dates.get("max-age", "")
    is_over = int(max_age) <= 0 if _SECONDS.fullmatch(max_age) else bool(_EPOCH.search(dates.get("expires", "")))
    if dates and (is_over or not value.strip(' "')):
        kept.append(" Max-Age=0")
    return ";".join(kept)
