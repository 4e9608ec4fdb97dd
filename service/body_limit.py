"""No request body exceeds the limit: a declared length is refused unread, streamed bytes once they are too many."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ServiceError
from service.replies import error_reply

_CLOSE = {"connection": "close"}  # the rest of the body is never read


class BodyLimit:
    """ASGI middleware; ``max_bytes`` counts what arrives, whatever a client declared."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isdecimal() and int(declared[:20]) > self._max_bytes:
            error = ServiceError(413, "body_too_large", self._message(f"{declared[:20]} bytes"))
            await error_reply(error, _CLOSE)(scope, receive, send)
            return
        num_bytes = 0

        async def receive_counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_bytes:
                # An HTTPException, because FastAPI turns any other error while it reads a body into a 400.
                raise HTTPException(413, self._message(f"more than {self._max_bytes} bytes"), _CLOSE)
            return message

        await self._app(scope, receive_counted, send)

    def _message(self, size: str) -> str:
        return (
            f"the body has {size}, the limit is {self._max_bytes} (ADAVAE_MAX_BODY_BYTES): send less at a time, in "
            "several requests"
        )
