"""How many connections there may be, and how long each may keep the server waiting."""

import os
import resource
from dataclasses import dataclass, field
from typing import Self

from adavae.service.http.client_address import TrustedProxies
from adavae.service.settings import Settings

_DESCRIPTORS_WANTED = 8192
_DESCRIPTORS_KEPT = 96  # for files, Redis and the like, beyond those that are open already
_DESCRIPTORS_EACH = 2  # a connection, and the file that it uploads or downloads


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Counts and seconds, as the settings of the same names; ``proxies`` are counted in all, but not by address."""

    max_connections: int = 1024
    max_connections_per_address: int = 512
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    write_timeout_s: float = 30.0
    keep_alive_s: int = 5
    proxies: TrustedProxies = field(default_factory=lambda: TrustedProxies(""))

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of the settings, as far as this process may open files."""
        return cls(
            max_connections=min(settings.max_connections, descriptors_left() // _DESCRIPTORS_EACH),
            max_connections_per_address=settings.max_connections_per_address,
            header_timeout_s=settings.header_timeout_s,
            body_timeout_s=settings.body_timeout_s,
            write_timeout_s=settings.write_timeout_s,
            keep_alive_s=settings.keep_alive_s,
            proxies=TrustedProxies(settings.trusted_proxies),
        )


def allow_descriptors() -> None:
    """Lets this process open more files than shells usually allow, where the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptors_left() -> int:
    """How many more files this process can open, some kept for its own needs; at least a few."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = _DESCRIPTORS_WANTED * 1024
    return max(16, soft - len(os.listdir("/dev/fd")) - _DESCRIPTORS_KEPT)
