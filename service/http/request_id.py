"""Every request has an id, the client's own where it is sane; it goes into the reply and into every log line."""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

HEADER = "x-request-id"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestId:
    """ASGI middleware, the outermost of ours: what is inside finds the id in ``scope["state"]["request_id"]``."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _sane_or_new(Headers(scope=scope).get(HEADER))
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        with bound_contextvars(request_id=request_id):
            await self._app(scope, receive, send_with_id)


def request_id_of(scope: Scope) -> str:
    """The id of the request that this scope belongs to."""
    request_id: str = scope["state"]["request_id"]
    return request_id


def new_request_id() -> str:
    """Of what never became a request, or has no sane id of its own."""
    return uuid.uuid4().hex


def _sane_or_new(sent: str | None) -> str:
    return sent if sent is not None and _SANE.fullmatch(sent) else new_request_id()
