"""The cookies of one client, each kept for the session, whatever any clock says of its date.

The date of a cookie is by the server's clock. Where that is hours behind, a login cookie is past its date when it
comes, and every login would be lost at once. That a cookie is too old is told by the server's refusal.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from http.cookies import BaseCookie, Morsel, SimpleCookie
from types import MappingProxyType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractCookieJar
from aiohttp.typedefs import LooseCookies
from yarl import URL

Cookies = tuple[tuple[str, str, str, str], ...]
"""Name, value, domain and path of each cookie."""

_Marks = tuple[tuple[bool, bool], ...]  # of each cookie whether it is for TLS alone, and for its host alone
_NO_URL = URL()
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


class CookieJar(AbstractCookieJar):
    """The cookies of one client: each is kept until the server deletes or replaces it, see `without_date`.

    What goes by a `Set-Cookie` and what goes along with a request is decided by aiohttp's own jar. One that is kept
    takes 3 KB, so it is filled when it is asked, which is seldom: what it decides is the same for many accounts.

    Attributes:
        changes: how often anything has changed in it.
        content: of each cookie its name, value, domain and path.
    """

    unsafe = True  # also those of servers that are named by IP address
    quote_cookie = False  # quotes that the server did not write break the stickiness of load balancers

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0
        self.content: Cookies = ()
        self._taken = 0  # what was taken last, and has changed nothing since
        self._marks: _Marks = ()

    @property
    def cookies(self) -> MappingProxyType[tuple[str, str], SimpleCookie]:
        """See aiohttp."""
        return self._filled().cookies

    @property
    def host_only_cookies(self) -> frozenset[tuple[str, str, str]]:
        """See aiohttp."""
        return self._filled().host_only_cookies

    def __iter__(self) -> Iterator[Morsel[str]]:
        return iter(self._filled())

    def __len__(self) -> int:
        return len(self.content)

    def restore(self, cookies: Cookies, host: str) -> None:
        """Hold these, as if this host had set them again."""
        self.changes += 1
        self.content = tuple((name, value, host, path or "/") for name, value, _domain, path in cookies)
        self._marks = ((False, True),) * len(cookies)

    def clear(self, predicate: Callable[[Any], bool] | None = None) -> None:
        """See aiohttp."""
        self._keep(lambda jar: jar.clear(predicate))

    def clear_domain(self, domain: str) -> None:
        """See aiohttp."""
        self._keep(lambda jar: jar.clear_domain(domain))

    def update_cookies(self, cookies: LooseCookies, response_url: URL = _NO_URL) -> None:
        """See aiohttp."""
        self._keep(lambda jar: jar.update_cookies(cookies, response_url))

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        """Take the `Set-Cookie` headers of an answer; some balancers add the same to each."""
        if self._taken != hash((self.changes, response_url, *headers)):
            undated = [without_date(header) for header in headers]
            self._keep(lambda jar: jar.update_cookies_from_headers(undated, response_url))
            self._taken = hash((self.changes, response_url, *headers))

    def filter_cookies(self, request_url: URL = _NO_URL) -> "BaseCookie[str]":
        """See aiohttp."""
        found: SimpleCookie = SimpleCookie()
        for name, value in self._sent_to(request_url):
            found[name] = _morsel(name, value)
        return found

    def header(self, url: URL) -> str:
        """What a request to this URL says of them; empty if nothing."""
        return "; ".join([f"{name}={value}" for name, value in self._sent_to(url)])

    def _sent_to(self, url: URL) -> list[tuple[str, str]]:
        shape = tuple([(name, domain, path) for name, _, domain, path in self.content])
        return [(name, self.content[place][1]) for name, place in _sent(shape, self._marks, url)]

    def _keep(self, change: Callable[[aiohttp.CookieJar], None]) -> None:
        jar = self._filled()
        change(jar)
        content = tuple((cookie.key, cookie.value, cookie["domain"], cookie["path"]) for cookie in jar)
        alone = jar.host_only_cookies
        marks = tuple((bool(one["secure"]), (one["domain"], one["path"].rstrip("/"), one.key) in alone) for one in jar)
        if (content, marks) != (self.content, self._marks):
            self.content, self._marks = content, marks
            self.changes += 1

    def _filled(self) -> aiohttp.CookieJar:
        return _jar(self.content, self._marks)


def _morsel(name: str, value: str) -> Morsel[str]:
    morsel: Morsel[str] = Morsel()
    # What unpickling one does: Python refuses to create some names and values that servers use.
    morsel.__setstate__({"key": name, "value": value, "coded_value": value})  # type: ignore[attr-defined]
    return morsel


def _jar(cookies: Cookies, marks: _Marks) -> aiohttp.CookieJar:
    jar = aiohttp.CookieJar(unsafe=CookieJar.unsafe, quote_cookie=CookieJar.quote_cookie)
    for (name, value, domain, path), (is_secure, is_of_host) in zip(cookies, marks, strict=True):
        morsel = _morsel(name, value)
        morsel["path"], morsel["secure"], morsel["domain"] = path, is_secure, "" if is_of_host else domain
        jar.update_cookies([(name, morsel)], URL.build(scheme="https", host=domain) if domain else _NO_URL)
    return jar


@lru_cache(maxsize=16)
def _sent(shape: tuple[tuple[str, str, str], ...], marks: _Marks, url: URL) -> tuple[tuple[str, int], ...]:
    """Of cookies without their values, which go along to this URL: name and place, in the order of the header.

    Those of all accounts are alike but for the values, and no value decides.
    """
    jar = _jar(tuple((name, str(place), domain, path) for place, (name, domain, path) in enumerate(shape)), marks)
    return tuple((name, int(morsel.value)) for name, morsel in sorted(jar.filter_cookies(url).items()))
