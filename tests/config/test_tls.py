import ssl
import subprocess

import pytest

from listener.config.lane import LaneSettings
from listener.config.schema import Folders
from listener.config.tls import TlsSettings
from listener.errors import StartError
from listener.sinks.registry import SinkContext
from support.tools import need


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate with its key, the key alone in another file, and the same key encrypted."""
    folder = tmp_path_factory.mktemp("tls")
    openssl = need("openssl", package="openssl")
    making = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=client"]
    names = ["-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run([*making, *names], check=True, capture_output=True)
    encrypting = ["ec", "-in", folder / "key.pem", "-aes256", "-passout", "pass:secret", "-out", folder / "locked.pem"]
    subprocess.run([openssl, *encrypting], check=True, capture_output=True)
    (folder / "broken.pem").write_text("no certificate", encoding="utf-8")
    return folder


@pytest.fixture
def context(certificates):
    return SinkContext(name="bus", base=certificates)


def test_certificates_and_names_are_verified_unless_told_otherwise(context):
    strict = TlsSettings().ssl_context(context)
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    lax = TlsSettings(verify=False).ssl_context(context)
    assert (lax.verify_mode, lax.check_hostname) == (ssl.CERT_NONE, False)


def test_an_own_authority_and_a_client_certificate_are_used(context):
    made = TlsSettings(ca_file="cert.pem", client_cert_file="cert.pem", client_key_file="key.pem").ssl_context(context)
    assert [subject["subject"] for subject in made.get_ca_certs()] == [((("commonName", "client"),),)]


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"ca_file": "broken.pem"}, "sinks.bus.ca_file"),
        ({"client_cert_file": "cert.pem"}, "sinks.bus.client_cert_file"),
        ({"client_cert_file": "cert.pem", "client_key_file": "locked.pem"}, "sinks.bus.client_cert_file"),
        ({"client_cert_file": "gone.pem"}, "sinks.bus.client_cert_file"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_with_its_setting(context, options, place):
    with pytest.raises(StartError, match=place):
        TlsSettings(**options).ssl_context(context)


def test_a_key_without_its_certificate_is_refused(certificates):
    lane = LaneSettings(type="x", client_key_file="key.pem")
    with pytest.raises(ValueError, match="client_key_file needs client_cert_file"):
        TlsSettings.model_validate(lane.options, context=Folders(certificates))


@pytest.mark.parametrize("options", [{"ca_file": "cert.pem"}, {"client_cert_file": "cert.pem"}, {"verify": False}])
def test_keys_that_are_of_no_use_without_tls_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name} is for TLS, which is off$"):
        TlsSettings(**options).refuse_tls_keys("is off")
    TlsSettings().refuse_tls_keys("is off")
