"""Variables that Kubernetes puts into every container for every Service there is, by the Service's name.

One named ``adavae``, or ``adavae-`` and anything, gives variables that begin as our settings do; one of them,
``ADAVAE_PORT``, is a setting. None of them is meant for us.
"""

import re
from collections.abc import Iterable, Mapping

_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://\S+", re.IGNORECASE)
_PROTOCOL = r"PORT_\d+_(?:TCP|UDP|SCTP)"
_ALWAYS = re.compile(
    rf"ADAVAE(?:_\w+)?_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|{_PROTOCOL}(?:_(?:PROTO|PORT|ADDR))?)", re.I
)
_WITH_ADDRESS = re.compile(r"ADAVAE(?:_\w+)?_PORT", re.I)


def is_service_link(name: str, value: str) -> bool:
    """Whether a variable is Kubernetes' own."""
    if _ALWAYS.fullmatch(name):
        return True
    return _WITH_ADDRESS.fullmatch(name) is not None and _ADDRESS.fullmatch(value) is not None


def explain_service_links(environment: Mapping[str, str], settings: Iterable[str]) -> str | None:
    """What to say of them, once; None where there are none. ``settings`` are the names that mean something to us."""
    found = sorted(name for name, value in environment.items() if is_service_link(name, value))
    if not found:
        return None
    shadowed = sorted(set(map(str.upper, found)) & set(settings))
    left_out = f" {', '.join(shadowed)} has its default, therefore;" if shadowed else ""
    return (
        f"{len(found)} variables such as {found[0]} are Kubernetes' own, for a Service named adavae or adavae-*, and "
        f"were ignored:{left_out} enableServiceLinks: false in the pod keeps them out"
    )
