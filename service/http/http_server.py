"""uvicorn's server, which says at once that it is about to end, and answers whoever had come by then."""

import asyncio
import logging
import math
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from adavae.service.daemon_threads import DaemonThreads
from adavae.service.http.connection import Connection
from adavae.service.http.connection_limits import ConnectionLimits
from adavae.service.http.door import Door

_PATIENCE_S = 0.5
_NUM_THREADS, _PATIENCE_WITH_THREADS_S = 32, 5.0  # for what blocks; one that hangs, in a disk, ends with the process
_POLL_S = 0.01
_TICKS_A_LOOK = 10  # of a tenth of a second each


def http_config(app: ASGIApp, shutdown_s: float) -> uvicorn.Config:
    """How ``app`` is served; the same whatever else is installed.

    h11 and asyncio are named because uvicorn takes httptools and uvloop where it finds them. httptools is a tenth of a
    millisecond faster, but loses the body of a request that offers "Upgrade: h2c", as Java's clients do, and keeps
    headers of any length in memory; ``Connection`` is h11's. Proxies are the business of ``client_address``: uvicorn
    believes X-Forwarded-For of whatever connects from this machine.
    """
    return uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        ws="none",
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

    def __init__(
        self, config: uvicorn.Config, on_exit: Callable[[], None], limits: ConnectionLimits | None = None
    ) -> None:
        super().__init__(config)
        self._on_exit, self._limits = on_exit, limits or ConnectionLimits()
        self._door: Door

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)
        if self.force_exit:  # asked twice: what is cut off now would be logged as an error, with a traceback
            logging.getLogger("uvicorn.error").disabled = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """The sockets are the door's: uvicorn would take connections from them without limit."""
        assert sockets is not None  # ``commands.serve`` opens them
        threads = DaemonThreads(_NUM_THREADS, "adavae-thread", patience_s=_PATIENCE_WITH_THREADS_S)
        asyncio.get_running_loop().set_default_executor(threads)  # before anything has made asyncio take its own
        await super().startup(sockets=[])
        self._door = Door(sockets, self._new_connection, self._limits)
        self._door.open()

    def _new_connection(self, on_lost: Callable[[Connection], None]) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state, limits=self._limits, on_lost=on_lost)

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_A_LOOK == 0:
            self._door.look_around()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.server_state.default_headers.append((b"connection", b"close"))
        await self._door.close()
        await self._hear_out()
        await super().shutdown(sockets)

    async def _hear_out(self) -> None:
        """Until every connection has had its answer and is closed, or has kept silent for long enough."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while self.server_state.connections and time.monotonic() < deadline_s and not self.force_exit:
            await asyncio.sleep(_POLL_S)
