"""A server, clients for it, and a certificate that nobody knows."""

import ssl
import subprocess
from contextlib import AsyncExitStack
from shutil import which

import aiohttp
import pytest

from listener.runtime.visitor import Visitor
from listener.webservices.client import WebServices
from support.site import PASSWORD, Site, serving


@pytest.fixture
async def stack():
    async with AsyncExitStack() as owned:
        yield owned


@pytest.fixture
async def connect(stack):
    """Make a client.

    `await connect(url, tls=context, **options)`
    """

    async def make(url, *, tls=True, **options):
        connector = await stack.enter_async_context(aiohttp.TCPConnector(ssl=tls))
        chosen = {"username": "agent1", "password": lambda: PASSWORD, "request_timeout_s": 5.0} | options
        return WebServices(url=url, http=Visitor(connector), **chosen)

    return make


@pytest.fixture
def site():
    return Site()


@pytest.fixture
async def url(stack, site):
    return await stack.enter_async_context(serving(site.handle))


@pytest.fixture
async def client(connect, url):
    return await connect(url)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1, with its key in the same file."""
    if which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    both = folder / "server.pem"
    made = [folder / "key.pem", folder / "cert.pem"]
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-keyout",
            made[0],
            "-out",
            made[1],
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )
    both.write_bytes(b"".join(part.read_bytes() for part in made))
    return both


@pytest.fixture
async def tls_url(stack, site, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return await stack.enter_async_context(serving(site.handle, tls=context))
