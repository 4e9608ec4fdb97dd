"""Keeps pages of other sites from changing anything here: where a browser would let them, this does not.

A browser asks first before a page of another site may send JSON, a key, or DELETE, and this service allows that to the
origins of ``ADAVAE_CORS_ORIGINS`` only. It does not ask before a form, or a POST without a body.
"""

from starlette.datastructures import Headers

from adavae.service.errors import ServiceError
from adavae.service.http.cors import Origins

_CHANGE_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def refuse_other_sites(method: str, headers: Headers, allowed: Origins) -> None:
    """For requests without a key: a key is something that no page of another site has.

    Raises:
        ServiceError: 403.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if method in _CHANGE_NOTHING or allowed.allow(origin):
        return
    is_own = site in ("same-origin", "none") if site is not None else _is_own(origin, headers.get("host", ""))
    if not is_own:
        raise ServiceError(
            403,
            "cross_site",
            f"a page of another site sent this ({(origin or site or '')[:100]}): send it from a program or a page of "
            "this service, or set ADAVAE_API_KEYS and give a key",
        )


def _is_own(origin: str | None, host: str) -> bool:
    """Programs send no origin; browsers that do not tell the site in one word send one with every POST."""
    if origin is None:
        return True
    scheme, _, place = origin.lower().partition("://")
    port = _DEFAULT_PORTS.get(scheme, "")
    return place.removesuffix(port) == host.lower().removesuffix(port)
