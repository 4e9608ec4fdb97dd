"""No request body exceeds its limit: a declared length is refused unread, streamed bytes once they are too many.

Nor do all of them together, for they are in memory until they are answered. Uploads of files have a limit of their
own, far above what is ever held in memory: they are read as they come.
"""

from collections import Counter
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adavae.service.errors import ServiceError
from adavae.service.http.path_prefix import path_of
from adavae.service.http.replies import error_reply

UPLOAD_PATHS = ("/v1/files", "/read", "/adapters")
_FORM_BYTES = 64 * 1024  # what a form has around its file
_SHARES = 4  # that the room for all bodies has; one client may take one of them
_CLOSE = {"connection": "close"}  # the rest of the body is never read


@dataclass(frozen=True, slots=True)
class _Limit:
    """``max_bytes`` of a body; ``shown_bytes`` is what the setting says."""

    max_bytes: int
    shown_bytes: int
    setting: str
    remedy: str

    def message(self, size: str) -> str:
        return f"the body has {size}, the limit is {self.shown_bytes} ({self.setting}): {self.remedy}"


class _Room:
    """The bytes that the bodies of all requests have, by client; used from one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._held = max_bytes, Counter[str]()

    def take(self, client: str, num_bytes: int) -> None:
        """Counts some that have arrived; raises HTTPException (429) where they are too many."""
        self._held[client] += num_bytes
        for held, limit, whose in (
            (self._held.total(), self._max_bytes, "all requests under way"),
            (self._held[client], self._max_bytes // _SHARES, "your requests under way"),
        ):
            if held > limit:
                raise HTTPException(
                    429,
                    f"the bodies of {whose} have {held} bytes, the limit is {limit} (ADAVAE_MAX_BODIES_BYTES): send "
                    "fewer requests at once, or try again in a moment",
                    _CLOSE | {"retry-after": "1"},
                )

    def give_back(self, client: str, num_bytes: int) -> None:
        self._held[client] -= num_bytes
        if not self._held[client]:
            del self._held[client]


class BodyLimit:
    """ASGI middleware; what counts is what arrives, whatever a client declared."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_upload_bytes: int, max_all_bytes: int) -> None:
        self._app, self._room = app, _Room(max(max_all_bytes, _SHARES * max_bytes))
        less = "send less at a time, in several requests"
        self._limit = _Limit(max_bytes, max_bytes, "ADAVAE_MAX_BODY_BYTES", less)
        split = "split the file, or compress it with xz; import sets where the service runs (adavae adapters import)"
        largest = max_upload_bytes + _FORM_BYTES
        self._upload_limit = _Limit(largest, max_upload_bytes, "ADAVAE_MAX_UPLOAD_BYTES", split)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._upload_limit if path_of(scope) in UPLOAD_PATHS else self._limit
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > limit.max_bytes:
            error = ServiceError(413, "body_too_large", limit.message(f"{declared[:20]} bytes"))
            await error_reply(error, _CLOSE)(scope, receive, send)
            return
        is_upload = limit is self._upload_limit
        client = scope["state"].get("client_id", "")
        num_bytes = 0

        async def receive_counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_new = len(message.get("body", b""))
            num_bytes += num_new
            # HTTPExceptions, because FastAPI turns any other error while it reads a body into a 400.
            if num_bytes > limit.max_bytes:
                num_bytes -= num_new
                raise HTTPException(413, limit.message(f"more than {limit.shown_bytes} bytes"), _CLOSE)
            if num_new and not is_upload:
                self._room.take(client, num_new)
            return message

        try:
            await self._app(scope, receive_counted, send)
        finally:
            if not is_upload:
                self._room.give_back(client, num_bytes)
