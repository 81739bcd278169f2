"""Which header a server may have us send with its CSRF token: any but those that say something to HTTP already."""

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # RFC 9110, 5.5
_FRAMES = "it says where messages and connections end"
_LEADS = "it says where a request goes"
_SHOWS = "it says who sends a request, or what he may do"
_TELLS = "it says what a request holds, or what may come back"
_RESERVED: Mapping[str, str] = {
    **dict.fromkeys(
        ("connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
        _FRAMES,
    ),
    **dict.fromkeys(("destination", "forwarded", "host", "max-forwards", "via"), _LEADS),
    **dict.fromkeys(("authorization", "cookie", "from", "origin", "referer", "set-cookie", "user-agent"), _SHOWS),
    **dict.fromkeys(("accept", "cache-control", "pragma", "range"), _TELLS),
}
_RESERVED_BEGINNINGS: Mapping[str, str] = {
    "x-forwarded-": _LEADS,
    "x-original-": _LEADS,
    "x-rewrite-": _LEADS,
    "proxy-": _SHOWS,
    "sec-": _SHOWS,
    "access-control-": _SHOWS,
    "accept-": _TELLS,
    "content-": _TELLS,
    "if-": _TELLS,
    "x-http-method": _TELLS,
    "x-method-": _TELLS,
}


def problem_of(name: str, token: str) -> str:
    """Why this token cannot be sent in a header of this name; "" if it can."""
    if not _NAME.fullmatch(name):
        return "that is no name of a header"
    if not _VALUE.fullmatch(token):
        return "its token cannot be the value of a header"
    lower = name.lower()
    begun = next((reason for beginning, reason in _RESERVED_BEGINNINGS.items() if lower.startswith(beginning)), "")
    return _RESERVED.get(lower, begun)
