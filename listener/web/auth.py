"""Access: the bearer token, and on the loopback the Host header."""

import hmac
import ipaddress
from collections.abc import Callable

from aiohttp import web

from listener.errors import HttpRefused

_BEARER = {"WWW-Authenticate": 'Bearer realm="disposition-listener"'}


class Guard:
    """Admits or refuses a request before anything else happens.

    With a token, whatever is not open needs it (RFC 6750, in the header only: browsers send no such header by
    themselves, so no page of somebody else can act in a user's name). Without one, a server on the loopback answers
    only who calls it by an address or a name of its own: a page from elsewhere whose name was made to lead here (DNS
    rebinding) is not answered.

    Args:
        token: what `Authorization: Bearer` has to hold now; raises OSError or ValueError while nobody can tell. None
            where no token is configured.
        only_here: the name or address that is listened on, where only this host reaches it; None elsewhere.
    """

    def __init__(self, *, token: Callable[[], str] | None = None, only_here: str | None = None) -> None:
        self._token = token
        self._only_here = only_here

    def admit(self, request: web.BaseRequest, *, is_open: bool, is_action: bool) -> bool:
        """Whether the client is trusted: false without the token, on an open route.

        Raises HttpRefused: it is not answered.
        """
        if self._token is None:
            if self._only_here is not None:
                self._check_host(request, self._only_here)
            if is_action:
                raise HttpRefused(403, "no_token_set", "actions need a token: set http.token or http.token_file")
            return True
        refused = self._refusal(request, self._token)
        if refused is not None and not is_open:
            raise refused
        return refused is None

    def _refusal(self, request: web.BaseRequest, token: Callable[[], str]) -> HttpRefused | None:
        """Why the token is missing or wrong; None if it is right."""
        shown = request.headers.getall("Authorization", [])
        if not shown:
            return HttpRefused(401, "no_token", "a bearer token is required", headers=_BEARER)
        try:
            wanted = token()
        except (OSError, ValueError):  # the client need not know what is wrong with the file
            return HttpRefused(503, "token_unreadable", "the token of the configuration cannot be read; see the log")
        scheme, _, given = shown[0].partition(" ")
        if scheme.lower() == "bearer" and len(shown) == 1 and _same(given.strip(" "), wanted):
            return None
        headers = {"WWW-Authenticate": _BEARER["WWW-Authenticate"] + ', error="invalid_token"'}
        return HttpRefused(401, "wrong_token", "this is not the bearer token", headers=headers)

    def _check_host(self, request: web.BaseRequest, own: str) -> None:
        """RFC 9112, 3.2: exactly one Host."""
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1:
            raise HttpRefused(400, "host", "one Host header is required")
        name = _name_in(hosts[0])
        if name not in {"localhost", own.lower()} and not _is_address(name):
            raise HttpRefused(421, "host", "use the address that this server listens on, or localhost")


def _same(given: str, wanted: str) -> bool:
    """In constant time. A header's bytes are in the text by surrogateescape."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode())


def _name_in(host: str) -> str:
    """The host of a Host header, without its port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
