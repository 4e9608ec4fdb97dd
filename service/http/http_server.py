"""uvicorn's server, which tells at once that it is to end, and answers whoever had come by then."""

import asyncio
import contextlib
import logging
import math
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

_PATIENCE_S = 0.5
_POLL_S = 0.01


def http_config(app: ASGIApp, shutdown_s: float) -> uvicorn.Config:
    """How ``app`` is served; the same whatever else is installed.

    h11 and asyncio are named because uvicorn takes httptools and uvloop where it finds them. httptools is a tenth of a
    millisecond faster, but loses the body of a request that offers "Upgrade: h2c", as Java's clients do, and keeps
    headers of any length in memory; ``HttpServer`` closes its door in a way that uvloop does not know. Proxies are the
    business of ``client_address``: uvicorn believes X-Forwarded-For of whatever connects from this machine.
    """
    return uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(shutdown_s),
    )


class HttpServer(uvicorn.Server):
    """Calls ``on_exit`` at the first signal, while requests still run: the application's own end comes after them.

    uvicorn by itself resets connections whose request it has not read yet, or that the kernel has taken but nobody has
    accepted: under load, requests that were sent before the end are lost. Here connections are accepted to the last
    one, and all have a moment to say what they came for.
    """

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_exit = on_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)
        if self.force_exit:  # asked twice: what is cut off now would be logged as an error, with a traceback
            logging.getLogger("uvicorn.error").disabled = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.default_headers.append((b"connection", b"close"))
        await self._close_door(sockets or [])
        await self._hear_out()
        await super().shutdown(sockets)

    async def _close_door(self, listeners: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for listener in listeners:
            loop.remove_reader(listener)
        await asyncio.sleep(0)  # those that were accepted in this turn of the loop get their protocol
        waiting = [connection for listener in listeners for connection in _accept_all(listener)]
        for server in self.servers:
            server.close()
        for connection in waiting:
            with contextlib.suppress(OSError):  # gone already
                await loop.connect_accepted_socket(self._new_protocol, connection)

    async def _hear_out(self) -> None:
        """Until every connection has had its answer and is closed, or has kept silent for long enough."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while self.server_state.connections and time.monotonic() < deadline_s and not self.force_exit:
            await asyncio.sleep(_POLL_S)

    def _new_protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    """What the kernel has taken so far."""
    taken = list[socket.socket]()
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            taken.append(connection)
    return taken
