"""Server-sent events: the framing, comments that keep a quiet connection open, and tidying up when a client leaves."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from model.errors import AdaVAEError
from service.errors import service_error
from service.replies import error_body, internal_error, to_json
from service.request_id import request_id_of

KEEPALIVE_S = 10.0
DONE = b"data: [DONE]\n\n"
_KEEPALIVE = b": keepalive\n\n"
_log = structlog.get_logger("adavae.request")


class EventStream(StreamingResponse):
    """Sends objects as events, then ``[DONE]``; an error becomes an ``error`` event with the usual body.

    Closes ``objects`` in any case: at the end, after an error, and when the client leaves.
    """

    media_type = "text/event-stream"

    def __init__(self, objects: AsyncGenerator[object, None], *, keepalive_s: float = KEEPALIVE_S) -> None:
        super().__init__((), headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._objects, self._keepalive_s = objects, keepalive_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette drops a generator that it stops reading; here both are closed at once.
        events = self._events(request_id_of(scope))
        self.body_iterator = events
        async with contextlib.aclosing(self._objects), contextlib.aclosing(events):
            await super().__call__(scope, receive, send)

    async def _events(self, request_id: str) -> AsyncGenerator[bytes, None]:
        try:
            async with contextlib.aclosing(_with_pauses(self._objects, self._keepalive_s)) as objects:
                async for each in objects:
                    yield _KEEPALIVE if each is None else b"data: " + to_json(each) + b"\n\n"
        except AdaVAEError as exc:
            yield _error_event(error_body(service_error(exc)))
        except Exception:  # the edge: the reply has begun, so the error goes where the client is reading
            _log.exception("stream_failed")
            yield _error_event(error_body(internal_error(request_id)))
        else:
            yield DONE


async def _with_pauses(objects: AsyncGenerator[object, None], pause_s: float) -> AsyncGenerator[object | None, None]:
    """The same objects, and None whenever the next one takes longer than ``pause_s``."""
    while True:
        following = asyncio.ensure_future(anext(objects, _END))
        try:
            while not (await asyncio.wait((following,), timeout=pause_s))[0]:
                yield None
        finally:
            if not following.done():
                following.cancel()
                await asyncio.wait((following,))
        if (each := following.result()) is _END:
            return
        yield each


def _error_event(body: dict[str, object]) -> bytes:
    return b"event: error\ndata: " + to_json(body) + b"\n\n"


_END = object()
