"""Server-sent events: the framing, comments that keep a quiet connection open, and tidying up when a client leaves."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar

import anyio
import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from adavae.model.errors import AdaVAEError
from adavae.service.errors import service_error
from adavae.service.http.head import is_head, send_head
from adavae.service.http.replies import error_body, internal_error, to_json
from adavae.service.http.request_id import request_id_of

KEEPALIVE_S = 10.0
DONE = b"data: [DONE]\n\n"
_KEEPALIVE = b": keepalive\n\n"
_log = structlog.get_logger("adavae.request")


Content = TypeVar("Content")


class EventStream(StreamingResponse, Generic[Content]):
    """Sends objects as events, then ``[DONE]``; an error becomes an ``error`` event with the usual body.

    Closes ``objects`` in any case: at the end, after an error, and when the client leaves.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        objects: AsyncGenerator[Content, None],
        *,
        keepalive_s: float = KEEPALIVE_S,
        id_of: Callable[[Content], str] | None = None,
    ) -> None:
        """``id_of`` gives an object's id, which a client that comes back sends as ``Last-Event-ID``; None: no ids."""
        super().__init__((), headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._objects, self._keepalive_s, self._id_of = objects, keepalive_s, id_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette drops a generator that it stops reading; here both are closed at once.
        events = self._events(request_id_of(scope))
        self.body_iterator = events
        async with contextlib.aclosing(self._objects), contextlib.aclosing(events):
            if is_head(scope):
                await send_head(self, send)
            else:
                await super().__call__(scope, receive, send)

    async def _events(self, request_id: str) -> AsyncGenerator[bytes, None]:
        try:
            async with contextlib.aclosing(_with_pauses(self._objects, self._keepalive_s)) as objects:
                async for each in objects:
                    yield _KEEPALIVE if each is None else self._frame(each)
        except AdaVAEError as exc:
            yield _error_event(error_body(service_error(exc)))
        except Exception:  # the edge: the reply has begun, so the error goes where the client is reading
            _log.exception("stream_failed")
            yield _error_event(error_body(internal_error(request_id)))
        else:
            yield DONE

    def _frame(self, content: Content) -> bytes:
        head = b"" if self._id_of is None else b"id: " + self._id_of(content).encode() + b"\n"
        return head + b"data: " + to_json(content) + b"\n\n"


async def _with_pauses(objects: AsyncGenerator[Content, None], pause_s: float) -> AsyncGenerator[Content | None, None]:
    """The same objects, and None whenever the next one takes longer than ``pause_s``."""
    while True:
        following: asyncio.Future[Content | _End] = asyncio.ensure_future(anext(objects, _END))
        try:
            while not (await asyncio.wait((following,), timeout=pause_s))[0]:
                yield None
        finally:
            following.cancel()
            with anyio.CancelScope(shield=True):  # when a client leaves, Starlette cancels us again and again
                await asyncio.wait((following,))
        if isinstance(each := following.result(), _End):
            return
        yield each


def _error_event(body: dict[str, object]) -> bytes:
    return b"event: error\ndata: " + to_json(body) + b"\n\n"


class _End:
    """What comes when there is no more."""


_END = _End()
