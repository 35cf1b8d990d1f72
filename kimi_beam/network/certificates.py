"""Which certificate authorities TLS connections trust: those that the environment names, else those of Mozilla.

A company with a proxy that opens TLS names its own authority by one of the variables below. Each names a file or a
directory; if several are set, the authorities of all of them are trusted.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from kimi_beam.errors import ConfigError

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""The variables that OpenSSL (the first two), requests with pip, and curl read."""


def tls() -> ssl.SSLContext:
    """The context that checks the certificates of TLS connections.

    Raises:
        ConfigError: A variable names a path that does not exist, cannot be read, or holds no certificate.
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
    locations = path.split(os.pathsep) if variable == "SSL_CERT_DIR" else [path]
    for location in filter(None, locations):
        try:
            if Path(location).is_dir():
                context.load_verify_locations(capath=location)
            else:
                context.load_verify_locations(cafile=location)
        except ssl.SSLError:
            raise ConfigError(f"{variable}: {location!r} holds no certificate in PEM form") from None
        except OSError as e:
            raise ConfigError(f"{variable}: cannot read {location!r}: {e.strerror or e}") from None
