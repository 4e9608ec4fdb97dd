"""Whom a request comes from: the connection's other end, or whom a trusted proxy names.

``X-Forwarded-For`` is a line that anybody can write, so it counts only where the connection comes from such a proxy,
and only as far back as one proxy after the other is trusted.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.types import Scope

from adavae.service.settings import SettingsError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "ip:unknown"
_HEADER = "x-forwarded-for"
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+")
_HOST_BITS = 64  # of an IPv6 address: whoever has one has as many as these can tell apart


class TrustedProxies:
    """The networks of ``ADAVAE_TRUSTED_PROXIES``; none of them: every client is who it is connected as.

    Raises:
        SettingsError: The text holds something that is no network, or the network of all addresses.
    """

    def __init__(self, text: str) -> None:
        self._networks = tuple(_network(part) for part in re.split(r"[\s,;]+", text) if part)

    def client_of(self, scope: Scope, headers: Headers) -> str:
        """Tells clients apart, for counting; one name for all addresses that one client has at its disposal."""
        peer = _address_in(scope["client"][0]) if scope.get("client") else None
        if peer is None:
            return UNKNOWN
        return f"ip:{_unit(self._forwarded(peer, headers.getlist(_HEADER)))}"

    def is_trusted(self, scope: Scope) -> bool:
        """Whether the connection's other end is such a proxy."""
        peer = _address_in(scope["client"][0]) if scope.get("client") else None
        return peer is not None and self._has(peer)

    def unless_trusted(self, peer: str) -> str | None:
        """As ``client_of`` names who is connected; None for a trusted proxy, which is there for many."""
        address = _address_in(peer)
        if address is None:
            return UNKNOWN
        return None if self._has(address) else f"ip:{_unit(address)}"

    def _forwarded(self, peer: Address, lines: Sequence[str]) -> Address:
        """The last address that is not a trusted proxy's; the farthest proxy's, where what it says cannot be read."""
        names = [name for line in lines for name in line.split(",")] if self._networks else []
        while names and self._has(peer):
            farther = _address_in(names.pop())
            if farther is None:
                break
            peer = farther
        return peer

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _network(text: str) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError as exc:
        raise SettingsError(
            f"ADAVAE_TRUSTED_PROXIES has {text!r}: write addresses or networks, as '10.0.0.7 172.16.0.0/12'"
        ) from exc
    if network.prefixlen == 0:
        raise SettingsError(f"ADAVAE_TRUSTED_PROXIES has {text!r}, which is everybody: name the proxies' own networks")
    return network


def _address_in(text: str) -> Address | None:
    """An address as connections and proxies write it: with a port, in brackets, IPv4 within IPv6, with a zone."""
    text = text.strip()
    if (found := _WITH_PORT.fullmatch(text)) is not None:
        text = found[1] or found[2]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _unit(address: Address) -> Address | Network:
    if isinstance(address, IPv4Address):
        return address
    return ip_network((int(address) >> _HOST_BITS << _HOST_BITS, 128 - _HOST_BITS))
