import ssl

import pytest

from listener.sinks.tls import is_refusal


def failure(kind, reason):
    exc = kind(1, "failed")
    exc.reason = reason
    return exc


@pytest.mark.parametrize("reason", ["TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_UNKNOWN_CA"])
def test_a_server_that_does_not_take_our_certificate_says_so(reason):
    assert is_refusal(failure(ssl.SSLError, reason))


def test_a_certificate_that_we_do_not_take_is_no_refusal_of_ours():
    assert not is_refusal(failure(ssl.SSLCertVerificationError, "TLSV1_ALERT_UNKNOWN_CA"))
    assert not is_refusal(failure(ssl.SSLError, "WRONG_VERSION_NUMBER"))
    assert not is_refusal(failure(ssl.SSLError, None))
