"""HEAD is answered wherever GET is: with the same head, and without the body being made where that takes long."""

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_IS_HEAD = "is_head"


class AnswersHead:
    """ASGI middleware, the innermost: routes see a GET, everything around them the HEAD that came."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope["state"][_IS_HEAD] = True
        scope["method"] = "GET"

        async def send_without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        try:
            await self._app(scope, receive, send_without_body)
        finally:
            scope["method"] = "HEAD"


def is_head(scope: Scope) -> bool:
    """Whether only the head of a reply is wanted: its body is not sent in any case."""
    return bool(scope["state"].get(_IS_HEAD))


async def send_head(reply: Response, send: Send) -> None:
    """A reply without its body, which is not even begun."""
    await send({"type": "http.response.start", "status": reply.status_code, "headers": reply.raw_headers})
    await send({"type": "http.response.body", "body": b""})
