"""The path under which a proxy serves all of this: ``ADAVAE_ROOT_PATH``, or what a trusted proxy says it cut off.

Inside, ``scope["path"]`` begins with ``scope["root_path"]``, as ASGI has it; ``path_of`` is the path as routes have it.
"""

import re

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from adavae.service.http.client_address import TrustedProxies
from adavae.service.settings import SettingsError

_HEADER = "x-forwarded-prefix"
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")  # nothing that could name another host
_LONGEST = 200


class PathPrefix:
    """ASGI middleware, outside everything that looks at a path.

    A proxy may cut the configured prefix off or leave it; ``X-Forwarded-Prefix`` is, by convention, what was cut off,
    and counts from the proxies of ``ADAVAE_TRUSTED_PROXIES`` only.
    """

    def __init__(self, app: ASGIApp, *, prefix: str, proxies: TrustedProxies) -> None:
        """``prefix`` as ``checked_prefix`` gives it."""
        self._app, self._prefix, self._proxies = app, prefix, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (found := self._found(scope)) is not None:
            prefix, path = found
            if path == prefix:
                await RedirectResponse(f"{prefix}/", status_code=308)(scope, receive, send)
                return
            scope = {**scope, "root_path": prefix, "path": path}
        await self._app(scope, receive, send)

    def _found(self, scope: Scope) -> tuple[str, str] | None:
        """The prefix and the whole path with it; None where there is no prefix."""
        path: str = scope["path"]
        told = self._told(scope)
        if told is not None:
            return told, told + path
        if not self._prefix:
            return None
        is_kept = path == self._prefix or path.startswith(f"{self._prefix}/")
        return self._prefix, path if is_kept else self._prefix + path

    def _told(self, scope: Scope) -> str | None:
        """What a trusted proxy says; None where there is none, or what it says is no path."""
        values = Headers(scope=scope).getlist(_HEADER)
        if len(values) != 1 or not self._proxies.is_trusted(scope):
            return None
        prefix = values[0].strip().rstrip("/")
        return prefix if _is_prefix(prefix) else None


def checked_prefix(text: str) -> str:
    """The prefix of ``ADAVAE_ROOT_PATH``, without the slash at its end; empty for none.

    Raises:
        SettingsError: It is no path.
    """
    prefix = text.rstrip("/")
    if prefix and not _is_prefix(prefix):
        raise SettingsError(f"ADAVAE_ROOT_PATH is {text!r}: write the path a proxy serves this under, as '/texts'")
    return prefix


def path_of(scope: Scope) -> str:
    """The path as routes have it, without what a proxy serves them under."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _is_prefix(text: str) -> bool:
    return len(text) <= _LONGEST and _PREFIX.fullmatch(text) is not None
