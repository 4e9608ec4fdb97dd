"""How a client reaches its service: with which headers, and past which proxies."""

from ipaddress import ip_address
from typing import Any

import httpx2


def connection_options(base_url: str, api_key: str | None, timeout_s: float) -> dict[str, Any]:
    """What httpx2's clients are made with; raises as ``_headers`` does.

    No proxy of the environment is asked for a service on this machine: it would look for it on its own.
    """
    return {
        "base_url": base_url,
        "headers": _headers(api_key),
        "timeout": timeout_s,
        "trust_env": not _is_loopback(httpx2.URL(base_url).host),
    }


def shown(url: httpx2.URL) -> str:
    """An address without a user and a password."""
    return str(url.copy_with(userinfo=b""))


def _headers(api_key: str | None) -> dict[str, str]:
    """What goes with every request.

    Raises:
        TypeError: The key is not a string.
        ValueError: It holds what no header can; it is not shown, and in no exception that led here either.
    """
    if api_key is None or api_key == "":
        return {"user-agent": "adavae-client"}
    if not isinstance(api_key, str):
        raise TypeError(f"api_key is of type {type(api_key).__name__}, must be a string")
    bad = next((place for place, each in enumerate(api_key) if not "!" <= each <= "~"), None)
    if bad is not None:
        raise ValueError(
            f"api_key holds a blank, a line break or a character that is not ASCII at character {bad} of "
            f"{len(api_key)}: copy the key again, or strip() what was read from a file"
        )
    return {"user-agent": "adavae-client", "authorization": f"Bearer {api_key}"}


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
