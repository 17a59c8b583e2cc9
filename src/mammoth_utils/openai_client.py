"""The one client for OpenAI-compatible servers: an address of this machine is never asked through a proxy."""

from __future__ import annotations

import ipaddress
import socket
import urllib.request
from typing import Any
from urllib.parse import urlsplit


def is_this_machine(url: str) -> bool:
    """Return whether a URL's host is this machine: localhost, a loopback address, 0.0.0.0 or the machine's name."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost" or host.endswith(".localhost") or host == socket.gethostname().lower()
    return address.is_loopback or address.is_unspecified


def open_openai(base_url: str, api_key: str, max_retries: int, timeout_s: float) -> Any:
    """Return an ``openai.OpenAI`` for a server; for this machine's own addresses it ignores the environment's proxies.

    A proxy cannot reach what listens on this machine, and fails minutes later with words that do not name it.
    """
    import openai

    options: dict[str, Any] = {"api_key": api_key, "max_retries": max_retries, "timeout": timeout_s}
    if is_this_machine(base_url):
        options["http_client"] = openai.DefaultHttpxClient(trust_env=False, timeout=timeout_s)
    return openai.OpenAI(base_url=base_url, **options)


def name_proxy(url: str) -> str:
    """Return a clause that names the environment's proxy for a URL, without its password; empty if there is none."""
    parts = urlsplit(url)
    if is_this_machine(url) or not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return ""
    shown = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    place = f"{shown.hostname}:{shown.port}" if shown.port else shown.hostname
    return f", asked through the proxy {place} of the environment (no_proxy names hosts that are asked without it)"
