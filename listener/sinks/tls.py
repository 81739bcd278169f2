"""How the TLS of a destination tells that it refuses our certificate."""

import ssl

# How a server tells that it does not take the certificate of a client, or the lack of one (RFC 8446, 6.2).
_REFUSALS = (
    *("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE", "CERTIFICATE_REVOKED"),
    *("CERTIFICATE_EXPIRED", "CERTIFICATE_UNKNOWN", "UNKNOWN_CA", "ACCESS_DENIED"),
)


def is_refusal(exc: ssl.SSLError) -> bool:
    """Whether the other side said that it does not take our certificate; of its own certificate that says nothing."""
    return not isinstance(exc, ssl.SSLCertVerificationError) and (exc.reason or "").endswith(_REFUSALS)
