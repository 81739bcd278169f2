"""The HTTP connections of all accounts: one connector, one TLS context, and cookies that outlive the process."""

import ssl

from yarl import URL

from listener.config.schema import secret_in
from listener.config.settings import ServerSettings
from listener.config.tls import no_password
from listener.errors import ConfigError, Problem
from listener.runtime import http_client
from listener.runtime.cookies import CookieJar, Cookies
from listener.runtime.owned import regular
from listener.runtime.visitor import Http


def tls_context(server: ServerSettings) -> ssl.SSLContext | bool:
    """How the server's certificate is verified, and ours presented; True is aiohttp's own context.

    Raises:
        ConfigError: a certificate or key cannot be read.
    """
    if not server.verify and server.client_cert_file is None:
        return False
    if server.ca_file is None and server.client_cert_file is None:
        return True
    try:
        context = ssl.create_default_context(cafile=server.ca_file and regular(server.ca_file))
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError([Problem("server.ca_file", f"holds no certificates in PEM form: {exc}")]) from exc
    if not server.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _load_own(context, server)
    return context


def renew(server: ServerSettings, *, tls: ssl.SSLContext | bool, proxy: http_client.Proxy | None) -> None:
    """Reload certificates, their key and the proxy's password, all in use; new connections use them.

    Authorities removed from the file stay trusted until the process ends. Raises ConfigError as `tls_context` and
    `proxy_password`; what could not be read stays as it was.
    """
    if proxy is not None:
        proxy.set_password(proxy_password(server))
    if not isinstance(tls, ssl.SSLContext):
        return
    if server.ca_file is not None:
        try:
            tls.load_verify_locations(regular(server.ca_file))
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError([Problem("server.ca_file", f"holds no certificates in PEM form: {exc}")]) from exc
    _load_own(tls, server)


def _load_own(context: ssl.SSLContext, server: ServerSettings) -> None:
    if server.client_cert_file is None:
        return
    try:
        key = server.client_key_file and regular(server.client_key_file)
        context.load_cert_chain(regular(server.client_cert_file), key, password=no_password)
    except (OSError, ValueError) as exc:
        text = f"no certificate with its key, unencrypted, in PEM form: {exc}"
        raise ConfigError([Problem("server.client_cert_file", text)]) from exc


def new_connector(server: ServerSettings, *, tls: ssl.SSLContext | bool | None = None) -> http_client.Connector:
    """The connector that all accounts share: each holds one poll, so it has no limit.

    Args:
        server: where to.
        tls: of `tls_context`; None makes one.

    Raises:
        ConfigError: as `tls_context` and `proxy_password`.
    """
    context = tls_context(server) if tls is None else tls
    proxy = http_client.new_proxy(server.proxy, user=server.proxy_user, password=proxy_password(server))
    return http_client.Connector(limit=0, tls=context, keepalive_s=60.0, proxy=proxy)


def proxy_password(server: ServerSettings) -> str:
    """The password at the proxy at this moment; empty without. Raises ConfigError: its file holds none."""
    file = server.proxy_password_file
    if file is None:
        return ""
    try:
        return secret_in(file)
    except OSError as exc:
        raise ConfigError([Problem("server.proxy_password_file", f"cannot read {file}: {exc.strerror}")]) from exc
    except ValueError as exc:
        raise ConfigError([Problem("server.proxy_password_file", str(exc))]) from exc


def saved_cookies(http: Http) -> Cookies:
    """The jar's content, to be stored beside the session that it belongs to."""
    return http.cookie_jar.content if isinstance(http.cookie_jar, CookieJar) else ()


def restore_cookies(http: Http, url: str, cookies: Cookies) -> None:
    """Put stored cookies back, as if the server at `url` had set them again."""
    if isinstance(http.cookie_jar, CookieJar):
        http.cookie_jar.restore(cookies, URL(url).raw_host or "")
