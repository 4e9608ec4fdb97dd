"""Who may come in, decided before a byte of the body is read: host name, API key, rate limit.

What a key may do there is decided by each route, through ``needs``.
"""

from collections.abc import Callable
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from adavae.service.errors import ServiceError
from adavae.service.http import api_keys
from adavae.service.http.api_keys import ApiKey, ApiKeys
from adavae.service.http.page import PAGE_PREFIX
from adavae.service.http.rate_limit import RateLimit
from adavae.service.http.replies import error_reply

_PAGE = ("/docs", "/openapi.json", "/static/swagger-ui-bundle.js", "/static/swagger-ui.css", "/static/favicon.png")
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/version", *_PAGE})


class Access:
    """ASGI middleware; what is inside finds the key, or None, in ``scope["state"]["api_key"]``."""

    def __init__(self, app: ASGIApp, *, keys: ApiKeys, rate_limit: RateLimit) -> None:
        self._app, self._keys, self._rate_limit = app, keys, rate_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope, Headers(scope=scope))
            except ServiceError as exc:
                await error_reply(exc)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        scope["state"]["api_key"] = key = None
        if not self._keys:
            _check_host(headers.get("host", ""))
        if scope["path"] in OPEN_PATHS or scope["path"].startswith(PAGE_PREFIX):
            return
        if self._keys:
            scope["state"]["api_key"] = key = self._keys.authenticate(headers)
        self._rate_limit.count(key.client_id if key else _address(scope))


def needs(scope: api_keys.Scope) -> Callable[[Request], None]:
    """A dependency of routes: the request's key must have this scope. Without keys everyone has every scope."""

    async def check(request: Request) -> None:
        key: ApiKey | None = request.state.api_key
        if key is not None and scope not in key.scopes:
            has = ", ".join(sorted(key.scopes))
            raise ServiceError(
                403, "missing_scope", f"this needs a key with the scope {scope}, yours has {has}: use another key"
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
    """Without keys only pages and programs that meant this machine are answered: a web page that had its own name
    point here (DNS rebinding) is not."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if not is_loopback(name):
        raise ServiceError(
            403,
            "host_not_allowed",
            f"the Host header is {host!r}, and without API keys only localhost is answered: use http://localhost, or "
            "set ADAVAE_API_KEYS",
        )


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return f"ip:{client[0]}" if client else "ip:unknown"
