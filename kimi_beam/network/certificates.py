"""Whose certificates are trusted: the authorities that the environment names, or else those that Mozilla trusts.

A company whose proxy opens TLS names its own authority by one of these variables. Each names a file or a directory;
where several are set, the authorities of all of them are trusted.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from kimi_beam.errors import ConfigError

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Of OpenSSL, OpenSSL, requests (and pip), and curl."""


def tls() -> ssl.SSLContext:
    """What connections by TLS are checked against.

    Raises:
        ConfigError: A variable names what is not there, cannot be read, or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    named = [(variable, path) for variable in _VARIABLES if (path := os.environ.get(variable, "").strip())]
    for variable, path in named:
        _trust(context, variable, path)
    if not named:
        import certifi

        context.load_verify_locations(cafile=certifi.where())
    return context


def _trust(context: ssl.SSLContext, variable: str, path: str) -> None:
    # OpenSSL takes several directories in one variable.
    parts = path.split(os.pathsep) if variable == "SSL_CERT_DIR" else [path]
    for part in filter(None, parts):
        try:
            if Path(part).is_dir():
                context.load_verify_locations(capath=part)
            else:
                context.load_verify_locations(cafile=part)
        except ssl.SSLError:
            raise ConfigError(f"{variable}: {part!r} holds no certificate in PEM form") from None
        except OSError as e:
            raise ConfigError(f"{variable}: cannot read {part!r}: {e.strerror or e}") from None
