"""The connector that all accounts share, its TLS, and cookies that outlive a process."""

import ssl
import subprocess
from pathlib import Path
from shutil import which

import pytest
import yarl
from aiohttp import web

from listener.config.settings import ServerSettings
from listener.daemon import connections
from listener.errors import ConfigError
from listener.runtime.visitor import Visitor
from support.bareserver import BareServer

URL = "https://gws.example.com"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate with its key in one file."""
    if which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, file = tmp_path / "key.pem", tmp_path / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=client", "-keyout", str(key), "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + key.read_bytes())
    return file


def test_certificates_are_checked_unless_the_configuration_says_otherwise():
    assert connections.tls_context(ServerSettings(url=URL)) is True, "as aiohttp does it"
    assert connections.tls_context(ServerSettings(url=URL, verify=False)) is False


def test_a_certificate_of_ones_own_is_shown_whether_the_servers_is_checked_or_not(certificate: Path):
    for verify in (True, False):
        mine = ServerSettings(url=URL, verify=verify, client_cert_file=certificate, client_key_file=certificate)
        context = connections.tls_context(mine)
        assert isinstance(context, ssl.SSLContext)
        assert context.check_hostname is verify
        assert (context.verify_mode is ssl.CERT_REQUIRED) is verify


def test_nobody_is_asked_for_the_password_of_a_key(certificate: Path, tmp_path: Path):
    """OpenSSL would ask on the terminal, and hold the event loop until somebody answers."""
    key = tmp_path / "encrypted.pem"
    command = ["openssl", "pkey", "-in", str(certificate), "-aes256", "-passout", "pass:secret", "-out", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(ConfigError, match="no certificate with its key, unencrypted, in PEM form: it is encrypted"):
        connections.tls_context(ServerSettings(url=URL, client_cert_file=certificate, client_key_file=key))


def test_an_authority_of_the_site_is_trusted(certificate: Path):
    context = connections.tls_context(ServerSettings(url=URL, ca_file=certificate))
    assert isinstance(context, ssl.SSLContext)
    assert [dict(part[0] for part in ca["subject"]) for ca in context.get_ca_certs()] == [{"commonName": "client"}]


@pytest.mark.parametrize("field", ["ca_file", "client_cert_file"])
def test_a_file_without_certificates_names_its_setting(tmp_path: Path, field: str):
    file = tmp_path / "empty.pem"
    file.write_text("nothing")
    with pytest.raises(ConfigError) as caught:
        connections.tls_context(ServerSettings(url=URL, **{field: file}))
    assert [problem.path for problem in caught.value.problems] == [f"server.{field}"]


async def test_the_connector_has_no_limit_for_every_account_holds_a_poll():
    connector = connections.new_connector(ServerSettings(url=URL))
    assert (connector.limit, connector.limit_per_host) == (0, 0)
    await connector.close()


@pytest.mark.parametrize(("written", "said"), [(None, "No such file"), (b"", "is empty"), (b"\xff", "it is not UTF-8")])
def test_a_proxy_without_its_password_names_the_setting(tmp_path: Path, written: bytes | None, said: str):
    file = tmp_path / "proxy.secret"
    if written is not None:
        file.write_bytes(written)
    server = ServerSettings(url=URL, proxy="http://proxy:1", proxy_user="a", proxy_password_file=file)
    with pytest.raises(ConfigError, match=said) as caught:
        connections.new_connector(server)
    assert [problem.path for problem in caught.value.problems] == ["server.proxy_password_file"]


COOKIES = [
    "JSESSIONID=abc.node1; Path=/; HttpOnly",
    "BAYEUX_BROWSER=x1; Path=/api",
    'LB="a b=c|d"; Path=/',
    "X[1]=q,r; Path=/",
    "bad/name=1; Path=/",
    "EMPTY=; Path=/",
    "ELSEWHERE=1; Path=/other",
]


async def test_cookies_come_back_in_the_next_process_as_they_were_whatever_they_are_called():
    """Load balancers use names that the standard library does not let one write."""

    async def give_once(request: web.Request) -> web.Response:
        response = web.Response()
        if "Cookie" not in request.headers:
            for cookie in COOKIES:
                response.headers.add("Set-Cookie", cookie)
        return response

    async with BareServer(give_once) as server:
        connector = connections.new_connector(ServerSettings(url=server.url))
        url = f"http://127.0.0.1:{server.port}"
        first, second = Visitor(connector), Visitor(connector)
        for _ in range(2):
            async with first.request("GET", yarl.URL(url + "/api/v2/me")):
                pass
        saved = connections.saved_cookies(first)
        connections.restore_cookies(second, url, saved)
        async with second.request("GET", yarl.URL(url + "/api/v2/me")):
            pass
        again = connections.saved_cookies(second)
        await connector.close()
    assert len(saved) == len(COOKIES)
    assert sorted(again) == sorted(saved)
    before, after = (sorted(headers["Cookie"].split("; ")) for headers in server.requests[1:])
    assert after == before
    assert len(after) == len(COOKIES) - 1
