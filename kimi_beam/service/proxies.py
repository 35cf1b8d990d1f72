"""Which proxy requests to a host go through, by the environment variables that curl, pip and requests read.

``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` are read in upper or lower case. This machine itself is
never asked through a proxy, whatever they say: a proxy could not reach it, but would see the token.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import sys
from base64 import b64encode
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from kimi_beam.errors import ConfigError

_LOOPBACK_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "localhost4", "localhost6", "localhost6.localdomain6"}
    | {"ip6-localhost", "ip6-loopback"}
)
"""Names of this machine in the hosts files of Linux distributions."""

_PRIVATE_ENDINGS = (".local", ".internal", ".localdomain", ".home.arpa", ".svc")
"""Endings of names that no public server has (RFC 6762, RFC 8375, ICANN's reserved ``.internal``; Kubernetes)."""


def proxy_of(url: str) -> str | None:
    """The URL of the proxy that the environment names for a URL; None if the host is reached directly.

    aiohttp could read the environment by itself, but it would take passwords from ~/.netrc as well.

    Raises:
        ConfigError: The variable names no proxy that can be used. The message does not repeat its value, which may hold
            a password.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if is_loopback(host) or _is_excepted(host, port):
        return None
    variable, value = _named(parts.scheme)
    if not value:
        return None
    proxy = value if "://" in value else f"http://{value}"
    try:
        scheme, name = urlsplit(proxy).scheme.lower(), urlsplit(proxy).hostname
        _ = urlsplit(proxy).port
    except ValueError:
        scheme, name = "", None
    if scheme.startswith("socks"):
        raise ConfigError(
            f"{variable}: a {scheme} proxy cannot be used, only an http or https one (NO_PROXY={host} does without)"
        )
    if scheme not in ("http", "https") or not name:
        raise ConfigError(f"{variable}: names no proxy; one looks like http://proxy.example:3128")
    return proxy


def passwords_in(proxy: str | None) -> list[str]:
    """A proxy URL's password in each spelling: as in the URL, decoded, and as it is sent. Empty if it has none."""
    parts = urlsplit(proxy or "")
    if not parts.password:
        return []
    user, password = unquote(parts.username or ""), unquote(parts.password)
    return [parts.password, password, b64encode(f"{user}:{password}".encode()).decode()]


def _named(scheme: str) -> tuple[str, str]:
    """The variable that names the proxy for a scheme, and its value; both are empty if none is set."""
    found = getproxies()  # on macOS and Windows this includes the system's own settings
    for key in (scheme, "all"):
        if value := found.get(key, "").strip():
            names = (f"{key}_proxy", f"{key.upper()}_PROXY")
            return next((name for name in names if os.environ.get(name)), f"the system's {key} proxy"), value
    return "", ""


def _is_excepted(host: str, port: int) -> bool:
    """Whether ``NO_PROXY`` excepts a host: by its name, by a domain above it, by its address or by a network."""
    listed = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    host = host.lower().rstrip(".")
    address = _address(host)
    for entry in re.split(r"[,\s]+", listed.lower()):
        if entry == "*":
            return True
        if address is not None and "/" in entry:
            try:
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
        name, _, its_port = entry.rpartition(":")
        if not (name and its_port.isdecimal() and (name.count(":") == 0 or name.endswith("]"))):
            name = entry
        elif int(its_port) != port:
            continue
        name = name.strip("[]").removeprefix("*").lstrip(".").rstrip(".")
        if name and (host == name or (address is None and host.endswith(f".{name}"))):
            return True
    # Without the variable, macOS and Windows may have exceptions in their own settings.
    return sys.platform in ("darwin", "win32") and not listed and bool(proxy_bypass(host))


# ------------------------------------------------------------------------------------------------ which network a host
# is in


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address, so that nothing sent to it leaves the machine."""
    host = host.lower().rstrip(".")
    if host in _LOOPBACK_NAMES or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def is_private(host: str) -> bool:
    """Whether a host is in a private network: by a private address, a name without a dot, or a private ending."""
    host = host.lower().rstrip(".")
    address = _address(host)
    if address is not None:
        return address.is_private or address.is_link_local or address.is_loopback
    return "." not in host or host.endswith(_PRIVATE_ENDINGS) or ".svc." in host or is_loopback(host)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address of a host that is written as one, in any form that a connection accepts (127.1, ::1%lo)."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host)) if re.match(r"[0-9]", host) else None
        except (OSError, ValueError):
            return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
