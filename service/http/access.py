"""Who may come in, decided before a byte of the body is read: host name, API key, site, rate limit.

What a key may do there is decided by each route, through ``needs``.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address
from time import monotonic

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from adavae.service.caller import CALLER, NOBODY, SINCE
from adavae.service.errors import ServiceError
from adavae.service.http import api_keys
from adavae.service.http.api_keys import ApiKey, ApiKeys, sent_key
from adavae.service.http.client_address import TrustedProxies
from adavae.service.http.cors import Origins
from adavae.service.http.cross_site import refuse_other_sites
from adavae.service.http.failed_keys import FailedKeys
from adavae.service.http.page import PAGE_PREFIX
from adavae.service.http.path_prefix import path_of
from adavae.service.http.rate_limit import RateLimit
from adavae.service.http.replies import error_reply

_PAGE = ("/docs", "/openapi.json", "/static/swagger-ui-bundle.js", "/static/swagger-ui.css", "/static/favicon.png")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z.-]+))(?::[0-9]{1,5})?")
HEALTH_PATHS = frozenset({"/healthz", "/readyz"})
"""Balancers ask for these in HTTP/1.0, without a host; a page that had its name point here always sends one."""
OPEN_PATHS = frozenset({"/", *HEALTH_PATHS, "/version", *_PAGE})


class Access:
    """ASGI middleware; what is inside finds the key, or None, in ``scope["state"]["api_key"]``."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: ApiKeys,
        failed_keys: RateLimit,
        rate_limit: RateLimit,
        proxies: TrustedProxies,
        origins: Origins,
    ) -> None:
        """``failed_keys`` limits the wrong keys of an address, ``rate_limit`` the requests of a client."""
        self._app, self._keys, self._proxies, self._rate_limit = app, keys, proxies, rate_limit
        self._origins = origins
        self._failed_keys = FailedKeys(keys, failed_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope, Headers(scope=scope))
            except ServiceError as exc:
                await error_reply(exc)(scope, receive, send)
                return
            CALLER.set(scope["state"].get("client_id", NOBODY))  # for this request's task and those it starts
            SINCE.set(monotonic())
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        scope["state"]["api_key"] = None
        path = path_of(scope)
        if not self._keys and ("host" in headers or path not in HEALTH_PATHS):
            _check_host(headers.get("host", ""))
        if path in OPEN_PATHS or path.startswith(PAGE_PREFIX):
            return
        client = self._proxies.client_of(scope, headers)
        if self._keys:
            scope["state"]["api_key"] = key = self._failed_keys.authenticated(sent_key(headers), client)
            client = key.client_id
        else:
            refuse_other_sites(scope["method"], headers, self._origins)
        scope["state"]["client_id"] = client
        self._rate_limit.count(client)


def needs(*scopes: api_keys.Scope) -> Callable[[Request], None]:
    """A dependency of routes: the request's key must have one of these. Without keys everyone has every scope."""

    async def check(request: Request) -> None:
        key: ApiKey | None = request.state.api_key
        if key is not None and key.scopes.isdisjoint(scopes):
            has = ", ".join(sorted(key.scopes))
            needed = " or ".join(scopes)
            raise ServiceError(
                403, "missing_scope", f"this needs a key with the scope {needed}, yours has {has}: use another key"
            )

    return check  # type: ignore[return-value]  # FastAPI awaits it


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine and nothing else."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_host(host: str) -> None:
    """Refuses whoever did not mean this machine, where there are no keys: a web page whose name was made to point here.

    (DNS rebinding.)
    """
    found = _HOST.fullmatch(host)
    if found is None or not is_loopback(found[1] or found[2]):
        raise ServiceError(
            403,
            "host_not_allowed",
            f"the Host header is {host!r}, and without API keys only localhost is answered: use http://localhost, or "
            "set ADAVAE_API_KEYS",
        )
