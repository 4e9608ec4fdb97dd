"""One connection: how long it may keep the server waiting, for a head, for the end of a body, for room to write.

They are looked after once a second, by ``end_if_overdue``; a request's own deadlines are kept by ``deadlines``.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from adavae.service.errors import ServiceError
from adavae.service.http.connection_limits import ConnectionLimits
from adavae.service.http.deadlines import FIRST_BYTE
from adavae.service.http.one_write import OneWrite
from adavae.service.http.replies import error_body, to_json
from adavae.service.http.request_id import HEADER, new_request_id
from adavae.service.http.strict_http import StrictConnection

_LEAST_TAKEN = 16 * 1024  # bytes that a client takes within the time to write


class Connection(H11Protocol):
    """uvicorn's protocol, strict and with deadlines."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        limits: ConnectionLimits,
        on_lost: Callable[["Connection"], None],
    ) -> None:
        """``on_lost`` is called once, when the connection is gone."""
        super().__init__(config, server_state, app_state)
        self.conn: StrictConnection = StrictConnection()
        self.app = self._timed
        self._limits, self._on_lost = limits, on_lost
        self.timeout_keep_alive = limits.keep_alive_s
        self.quiet_since = self._taken_at = self.loop.time()
        self._first_byte: float | None = None
        self._num_untaken, self._is_made, self._is_unwanted = 0, False, False

    @property
    def is_idle(self) -> bool:
        """No request of it is being answered: nobody loses anything when it is closed."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's type leaves out that there is none at first
        return cycle is None or cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._is_made = True
        if self._is_unwanted:  # since before it was there
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._first_byte is None and self.conn.their_state is h11.IDLE:
            self._first_byte = self.loop.time()
        super().data_received(data)

    async def _timed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application, told when the request's first byte came; what it answers goes out by ``OneWrite``."""
        scope["state"][FIRST_BYTE] = self._first_byte if self._first_byte is not None else self.loop.time()
        await self.config.loaded_app(scope, receive, OneWrite(self.cycle, send))

    def on_response_complete(self) -> None:
        self.quiet_since, self._first_byte = self.loop.time(), None
        super().on_response_complete()

    def close(self) -> None:
        """Ends it where nothing is lost: no request of it is being answered."""
        self._is_unwanted = True
        if self._is_made:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._on_lost(self)

    def end_if_overdue(self, now: float) -> None:
        """Ends the connection where it has kept the server waiting for too long."""
        if not self._is_made:
            return
        if self._is_stuck(now):
            self.transport.abort()
        elif self.is_idle and not self.transport.is_closing():
            self._end_waiting(now)

    def _is_stuck(self, now: float) -> bool:
        """Whether the client takes nothing of what was written, or next to nothing."""
        untaken = self.transport.get_write_buffer_size()
        if untaken == 0 or untaken <= self._num_untaken - _LEAST_TAKEN or self._num_untaken == 0:
            self._num_untaken, self._taken_at = untaken, now
        self._num_untaken = max(self._num_untaken, untaken)
        return untaken > 0 and now - self._taken_at > self._limits.write_timeout_s

    def resume_writing(self) -> None:
        self._num_untaken = 0
        super().resume_writing()

    def _end_waiting(self, now: float) -> None:
        limits, is_in_body = self._limits, self.conn.their_state is h11.SEND_BODY  # of a request answered unread
        if now - self.quiet_since <= (limits.body_timeout_s if is_in_body else limits.header_timeout_s):
            return
        if is_in_body or (self._first_byte is None and self.timeout_keep_alive_task is None):
            self.transport.close()
        elif self._first_byte is not None and now - self._first_byte > limits.header_timeout_s:
            limit = f"{limits.header_timeout_s:g} s (ADAVAE_HEADER_TIMEOUT_S)"
            message = f"line and headers have not come in within {limit}: send them faster, and fewer of them"
            self._refuse(ServiceError(408, "headers_too_slow", message))

    def send_400_response(self, msg: str) -> None:
        """In place of uvicorn's: the usual shape of errors, and the status that fits."""
        self._refuse(self.conn.refusal or ServiceError(400, "malformed_http", msg))

    def _refuse(self, error: ServiceError) -> None:
        """Answers what never became a request, or broke off within its body, and closes."""
        is_answering = not self.is_idle
        if is_answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not (is_answering and self.cycle.response_started):
            self._write_refusal(error)
        self.transport.close()

    def _write_refusal(self, error: ServiceError) -> None:
        body = to_json(error_body(error))
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            HEADER: new_request_id(),
        }
        try:
            head = self.conn.send(h11.Response(status_code=error.status, headers=list(headers.items())))
            rest = self.conn.send(h11.Data(data=body)), self.conn.send(h11.EndOfMessage())
        except h11.LocalProtocolError:  # an answer is out already: to close says the rest
            return
        self.transport.write(b"".join(part for part in (head, *rest) if part))
