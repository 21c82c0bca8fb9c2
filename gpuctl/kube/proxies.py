"""Which proxy leads to an API server: the kubeconfig's, else the environment's with its exceptions, by the rules kubectl follows.

Source: golang.org/x/net/http/httpproxy, which every Go program uses. So an address of this machine is never proxied, NO_PROXY knows
suffixes, addresses and CIDR blocks, and ALL_PROXY is not read.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(server: str, *, configured: str | None, env: Mapping[str, str]) -> str | None:
    """The proxy's URL, or None for a direct connection. ``configured`` (``proxy-url``) wins over the environment, exceptions included."""
    if configured:
        return configured
    url = urlsplit(server)
    host, port = (url.hostname or "").lower(), url.port or (443 if url.scheme == "https" else 80)
    name = "HTTPS_PROXY" if url.scheme == "https" else "HTTP_PROXY"
    proxy = env.get(name) or env.get(name.lower()) or ""
    if not proxy or _local(host) or _excepted(host, port, env.get("NO_PROXY") or env.get("no_proxy") or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _local(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or bool(address and address.is_loopback)


def _address(text: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _excepted(host: str, port: int, exceptions: str) -> bool:
    return any(_matches(host, port, rule.strip().lower()) for rule in exceptions.split(",") if rule.strip())


def _matches(host: str, port: int, rule: str) -> bool:
    if rule == "*":
        return True
    address = _address(host)
    if "/" in rule:
        try:
            return bool(address) and address in ipaddress.ip_network(rule, strict=False)
        except ValueError:
            return False
    name, separator, wanted = rule.rpartition(":")
    if separator and wanted.isdigit() and ":" not in name.strip("[]").replace("::", ""):
        if int(wanted) != port:
            return False
        rule = name
    rule = rule.strip("[]")
    if address or _address(rule):
        return address is not None and address == _address(rule)
    if rule.startswith("*."):
        rule = rule[1:]
    return host.endswith(rule) if rule.startswith(".") else host == rule or host.endswith(f".{rule}")
