"""How long a request may take, counted from its first byte: its body to come in, its answer to be found.

The body's time grows with what has come, so that an upload over a slow line is taken and one that drips is not. An
upload has no deadline beyond that.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adavae.service.errors import DeadlineExceeded
from adavae.service.http.body_limit import UPLOAD_PATHS
from adavae.service.http.path_prefix import path_of

FIRST_BYTE = "adavae.first_byte"  # in a scope's state: when the request's first byte came, on the event loop's clock
_BYTES_PER_S = 8192  # slower than any line that uploads are sent over


@dataclass(frozen=True, slots=True)
class Deadline:
    """``at`` is on the event loop's clock, ``timeout_s`` what the setting says."""

    at: float
    timeout_s: float

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Ends what is in its block in time.

        Raises:
            DeadlineExceeded: In place of what has not been finished.
        """
        try:
            async with asyncio.timeout_at(self.at):
                yield
        except TimeoutError as exc:
            raise DeadlineExceeded(self.timeout_s) from exc


class Deadlines:
    """ASGI middleware; what is inside finds the request's deadline by ``deadline_of``."""

    def __init__(self, app: ASGIApp, *, request_s: float, body_s: float) -> None:
        self._app, self._request_s, self._body_s = app, request_s, body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = scope["state"].get(FIRST_BYTE, asyncio.get_running_loop().time())
        scope["state"]["deadline"] = Deadline(began + self._request_s, self._request_s)
        latest = math.inf if path_of(scope) in UPLOAD_PATHS else began + self._request_s
        await self._app(scope, self._in_time(receive, began, latest), send)

    def _in_time(self, receive: Receive, began: float, latest: float) -> Receive:
        num_bytes, is_complete = 0, False

        async def receive_in_time() -> Message:
            nonlocal num_bytes, is_complete
            if is_complete:  # what is waited for now is the client's leaving
                return await receive()
            try:
                async with asyncio.timeout_at(min(latest, began + self._body_s + num_bytes / _BYTES_PER_S)):
                    message = await receive()
            except TimeoutError as exc:
                raise self._too_slow(num_bytes) from exc
            num_bytes += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            return message

        return receive_in_time

    def _too_slow(self, num_bytes: int) -> HTTPException:
        """An HTTPException, because FastAPI turns any other error while it reads a body into a 400."""
        return HTTPException(
            408,
            f"{num_bytes} bytes of the body came in time, the limit is {self._body_s:g} s (ADAVAE_BODY_TIMEOUT_S) and "
            f"one more for every {_BYTES_PER_S} bytes, but {self._request_s:g} s (ADAVAE_DEADLINE_S) for all that is "
            "no file: send it faster, or less of it",
            {"connection": "close"},
        )


def deadline_of(scope: Scope) -> Deadline:
    """The deadline of the request that this scope belongs to."""
    deadline: Deadline = scope["state"]["deadline"]
    return deadline
