"""A reply has one ``x-request-id``: Ray's proxy gives every request one, and writes it into the reply by itself."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adavae.service.http.request_id import HEADER


class OneRequestId:
    """ASGI middleware around ``RequestId``; an id of the client's that is not sane stays beside ours."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (given := Headers(scope=scope).get(HEADER)) is None:
            await self._app(scope, receive, send)
            return

        async def send_without_it(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get(HEADER) == given:
                    del headers[HEADER]
            await send(message)

        await self._app(scope, receive, send_without_it)
