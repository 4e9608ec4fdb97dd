"""Pages of other sites that may use the service from a browser: those of ``ADAVAE_CORS_ORIGINS``, and none without.

Fetch standard, "CORS protocol". An origin that is not named is told nothing, so that its browser refuses for it.
"""

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adavae.service.http.request_id import HEADER
from adavae.service.settings import SettingsError

_ANY = "*"
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_DEFAULT_PORT = re.compile(r"http://.*:80|https://.*:443")
_METHODS = "GET, HEAD, POST, DELETE"
_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2000}")  # names of headers
_SHOWN = f"{HEADER}, retry-after, x-should-retry, content-disposition"
_KEPT_S = 600


class Origins:
    """The origins that are allowed; false where there is none.

    Raises:
        SettingsError: Something is no origin, or everybody's where there are no keys.
    """

    def __init__(self, text: str, *, has_keys: bool) -> None:
        self._named = frozenset(part for part in re.split(r"[\s,;]+", text) if part)
        self.are_all = _ANY in self._named
        if self.are_all and not has_keys:
            raise SettingsError(
                "ADAVAE_CORS_ORIGINS is '*' and there are no API keys, so that every page anybody opens could use this "
                "service: name the origins, or set ADAVAE_API_KEYS"
            )
        for origin in self._named - {_ANY}:
            if not _ORIGIN.fullmatch(origin) or _DEFAULT_PORT.fullmatch(origin):
                raise SettingsError(
                    f"ADAVAE_CORS_ORIGINS has {origin!r}: write origins as browsers send them, "
                    "'https://tool.example http://localhost:3000', in lower case, without a path or the usual port"
                )

    def __bool__(self) -> bool:
        return bool(self._named)

    def allow(self, origin: str | None) -> bool:
        """Whether a page of this origin may use the service; ``null`` is no origin."""
        return origin is not None and (self.are_all or origin in self._named)

    def replied(self, origin: str | None) -> dict[str, str]:
        """The headers that tell a browser so; cookies of proxies in front go with named origins only."""
        if self.are_all:
            return {"access-control-allow-origin": _ANY}
        if origin is None or not self.allow(origin):
            return {}
        return {"access-control-allow-origin": origin, "access-control-allow-credentials": "true"}


class CorsHeaders:
    """ASGI middleware around every reply, errors too: what a page of an allowed origin may read."""

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        replied = self._origins.replied(Headers(scope=scope).get("origin"))

        async def send_with_origin(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(replied)
                if replied:
                    headers.setdefault("access-control-expose-headers", _SHOWN)
                if not self._origins.are_all:
                    headers.add_vary_header("origin")
            await send(message)

        await self._app(scope, receive, send_with_origin)


class Preflights:
    """ASGI middleware, outside the check of keys: browsers ask without one whether they may send it."""

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        self._app, self._origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS" and self._is_preflight(Headers(scope=scope)):
            await Response(status_code=204, headers=_granted(Headers(scope=scope)))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_preflight(self, headers: Headers) -> bool:
        return "access-control-request-method" in headers and self._origins.allow(headers.get("origin"))


def _granted(headers: Headers) -> dict[str, str]:
    """What may be sent; any header, since the service takes none for a proof but keys."""
    asked = headers.get("access-control-request-headers", "")
    granted = {"access-control-allow-methods": _METHODS, "access-control-max-age": str(_KEPT_S)}
    if _NAMES.fullmatch(asked):
        granted["access-control-allow-headers"] = asked
    return granted
