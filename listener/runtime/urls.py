"""How a URL is told in logs, reasons and pages: without what in it may be a secret."""

import re

from yarl import URL

HIDDEN = "…"
"""Stands for a part of a URL that may be a secret."""

# What everybody can read here is nobody's secret. A rule of form would show some: one in ten addresses of the kind
# `/hooks/catch/1234567/bqkzmxa/`, whose last segment is the secret, has no digit in it.
WORDS = """
agent analytics api app aspx audit auth authorize bi call callback case catch chat checkpoint cloudevent collect
collector cometd connect contact crm customer data default dev disposition email erp event external function genesys
gws health hook html http hub in inbound incoming index ingest input intake integration interaction internal invoke
json jsp lambda lead listener log login logon main manual me message notification notify oauth oauth2 oidc openid path
php ping post private prod production protocol public publish push queue ready realm receive receiver report rest run
saml send service signin sink sso staging status stream team test ticket token topic trigger ui voice web webhook wfm
workflow
"""
"""Those that are shown, also in the plural, and joined by dots, dashes or underscores."""

_WORD = rf"(?:(?:{'|'.join(WORDS.split())})s?|v[0-9]{{1,2}})"
_SHOWN = re.compile(rf"(?:{_WORD}(?:[._-]{_WORD})*)?")


def told(url: URL) -> str:
    """The URL with `…` in place of user info, query, fragment and each segment of the path that may be a secret."""
    scheme = f"{url.scheme}:" if url.scheme else ""
    login = f"{HIDDEN}@" if url.raw_user is not None or url.raw_password is not None else ""
    port = f":{url.explicit_port}" if url.explicit_port is not None else ""
    host = f"//{login}{url.host_subcomponent}{port}" if url.host_subcomponent is not None else ""
    path = "/".join(part if _SHOWN.fullmatch(part) else HIDDEN for part in url.raw_path.split("/"))
    query = f"?{HIDDEN}" if url.raw_query_string else ""
    fragment = f"#{HIDDEN}" if url.raw_fragment else ""
    return f"{scheme}{host}{'' if path == '/' else path}{query}{fragment}"
