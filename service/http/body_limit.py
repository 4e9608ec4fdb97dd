"""No request body exceeds its limit: a declared length is refused unread, streamed bytes once they are too many.

Uploads of data files have a limit of their own, far above what is ever held in memory: they are read as they come.
"""

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adavae.service.errors import ServiceError
from adavae.service.http.replies import error_reply

_UPLOAD_PATH = "/v1/files"
_FORM_BYTES = 64 * 1024  # what a form has around its file
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


class BodyLimit:
    """ASGI middleware; what counts is what arrives, whatever a client declared."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_upload_bytes: int) -> None:
        self._app = app
        less = "send less at a time, in several requests"
        self._limit = _Limit(max_bytes, max_bytes, "ADAVAE_MAX_BODY_BYTES", less)
        split = "split the file, or compress it with xz"
        largest = max_upload_bytes + _FORM_BYTES
        self._upload_limit = _Limit(largest, max_upload_bytes, "ADAVAE_MAX_UPLOAD_BYTES", split)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._upload_limit if scope["path"] == _UPLOAD_PATH else self._limit
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > limit.max_bytes:
            error = ServiceError(413, "body_too_large", limit.message(f"{declared[:20]} bytes"))
            await error_reply(error, _CLOSE)(scope, receive, send)
            return
        num_bytes = 0

        async def receive_counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > limit.max_bytes:
                # An HTTPException, because FastAPI turns any other error while it reads a body into a 400.
                raise HTTPException(413, limit.message(f"more than {limit.shown_bytes} bytes"), _CLOSE)
            return message

        await self._app(scope, receive_counted, send)
