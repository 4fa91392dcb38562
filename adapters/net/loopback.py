"""Addresses of this machine, and what a client needs for them."""

import ssl
from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(base_url: str) -> bool:
    """Tell whether `base_url` names this machine."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def verify_for(base_url: str) -> ssl.SSLContext | bool:
    """Return httpx's `verify` for a client of `base_url`.

    Plain HTTP to this machine gets a context that trusts nobody: the real one takes 40 ms to build.
    """
    needs_tls = not (is_loopback(base_url) and base_url.startswith("http:"))
    return True if needs_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
