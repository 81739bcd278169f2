"""TLS towards what a table leads to: the settings, and the context built from them."""

import ssl
from typing import Self

from pydantic import model_validator

from listener.config.login import Surroundings
from listener.config.schema import InputFile, Section
from listener.errors import StartError
from listener.runtime.owned import regular


class TlsSettings(Section):
    """Keys of a table that may lead over TLS. Certificates are verified unless `verify` is false."""

    verify: bool = True
    ca_file: InputFile | None = None
    client_cert_file: InputFile | None = None
    client_key_file: InputFile | None = None

    @model_validator(mode="after")
    def _a_key_has_its_certificate(self) -> Self:
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("client_key_file needs client_cert_file beside it (the same file may hold both)")
        return self

    def refuse_tls_keys(self, why: str) -> None:
        """For a connection without TLS: keys that would be of no use, and so mislead, raise ValueError with `why`."""
        unused = [key for key in ("ca_file", "client_cert_file") if getattr(self, key) is not None]
        unused += [] if self.verify else ["verify"]
        if unused:
            raise ValueError(f"{unused[0]} is for TLS, which {why}")

    def ssl_context(self, context: Surroundings) -> ssl.SSLContext:
        """The context of a client; reads the files anew, so blocks for as long as a few small files take.

        Raises:
            StartError: a file holds no usable certificate or key; the text names its setting.
        """
        try:
            made = ssl.create_default_context(cafile=_found(context, self.ca_file))
        except OSError as exc:
            raise StartError(f"{context.setting('ca_file')}: no usable certificate: {exc}") from exc
        if not self.verify:
            made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
        try:
            if (certificate := _found(context, self.client_cert_file)) is not None:
                made.load_cert_chain(certificate, _found(context, self.client_key_file), password=no_password)
        except (OSError, ValueError) as exc:
            text = f"no usable certificate with its key, which must not be encrypted: {exc}"
            raise StartError(f"{context.setting('client_cert_file')}: {text}") from exc
        return made


def _found(context: Surroundings, path: InputFile | None) -> str | None:
    """Where the file is. Raises OSError: there is none. OpenSSL would wait for the writer of a pipe."""
    return str(regular(context.base / path)) if path is not None else None


def no_password() -> str:
    """OpenSSL would ask on the terminal."""
    raise ValueError("it is encrypted")
