"""Who is let in: connections are taken as they come, counted in all and by address, and bounded.

Where there is no room, those make some that wait for nothing: the ones that have been silent for longest, of the
address that has most. Only where every connection is being answered is a newcomer turned away, with a reason.
"""

import asyncio
import contextlib
import errno
import heapq
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from functools import partial
from http import HTTPStatus

import structlog

from adavae.service.errors import ServiceError
from adavae.service.http.connection import Connection
from adavae.service.http.connection_limits import ConnectionLimits
from adavae.service.http.replies import error_body, to_json
from adavae.service.http.request_id import HEADER, new_request_id

_AT_ONCE = 64  # connections taken in one turn of the event loop
_MOST_AT_THE_END = 4096  # more than wait in the kernel
_PAUSE_S, _RETRY_S = 0.5, 5
_CLEARED = 16  # silent connections that make room at once, so that a flood does not look for each
_NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NOBODY_THERE = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EINTR})
Accepted = tuple[socket.socket, str | None]
_log = structlog.get_logger("adavae.connections")


class Door:
    """Takes connections from listening sockets and makes protocols of them; used from one event loop."""

    def __init__(
        self,
        listeners: Collection[socket.socket],
        make: Callable[[Callable[[Connection], None]], Connection],
        limits: ConnectionLimits,
    ) -> None:
        """``make`` is given what a connection calls when it is lost."""
        self._listeners, self._make, self._limits = listeners, make, limits
        self._clients: dict[Connection, str | None] = {}  # None for a proxy, which speaks for many
        self._counts: Counter[str | None] = Counter()
        self._arriving: set[asyncio.Task[object]] = set()
        self._is_open = False

    def open(self) -> None:
        """From now on connections are taken."""
        self._loop, self._is_open = asyncio.get_running_loop(), True
        for listener in self._listeners:
            listener.setblocking(False)
            self._go_on(listener)

    async def close(self) -> None:
        """Lets in those that the kernel has taken already, and closes the listening sockets."""
        self._is_open = False
        waiting: list[Accepted] = []
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            while len(waiting) < _MOST_AT_THE_END and (accepted := self._accept(listener)) is not None:
                waiting.append(accepted)
            listener.close()
        for accepted in waiting:
            self._let_in(*accepted)
        await asyncio.gather(*self._arriving, return_exceptions=True)

    def look_around(self) -> None:
        """Ends what has kept the server waiting for too long; once a second is often enough."""
        now = self._loop.time()
        for connection in list(self._clients):
            connection.end_if_overdue(now)

    def _go_on(self, listener: socket.socket) -> None:
        if self._is_open:
            self._loop.add_reader(listener, self._take, listener)

    def _take(self, listener: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            accepted = self._accept(listener)
            if accepted is None:
                return
            self._let_in(*accepted)

    def _accept(self, listener: socket.socket) -> Accepted | None:
        """The next connection and whose it is; None where nobody is left, or nothing to take it with."""
        try:
            connection, address = listener.accept()
        except OSError as exc:
            if exc.errno in _NOTHING_LEFT:
                self._pause(listener, exc)
            elif exc.errno not in _NOBODY_THERE:
                _log.error("a connection was not taken", error=repr(exc))
            return None
        connection.setblocking(False)
        return connection, self._limits.proxies.unless_trusted(address[0])

    def _pause(self, listener: socket.socket, exc: OSError) -> None:
        """Stops looking for a while: the kernel would say again and again that somebody is there."""
        _log.error("no connection can be taken", error=exc.strerror, remedy="raise the limit of open files")
        self._close_silent(self._clients)
        self._loop.remove_reader(listener)
        self._loop.call_later(_PAUSE_S, self._go_on, listener)

    def _let_in(self, accepted: socket.socket, client: str | None) -> None:
        refusal = self._refusal(client)
        if refusal is not None:
            _turn_away(accepted, refusal)
            return
        connection = self._make(self._forget)
        self._clients[connection] = client
        self._counts[client] += 1
        arriving = self._loop.create_task(self._loop.connect_accepted_socket(lambda: connection, accepted))
        self._arriving.add(arriving)
        arriving.add_done_callback(partial(self._on_arrival, connection))

    def _on_arrival(self, connection: Connection, arriving: "asyncio.Task[object]") -> None:
        self._arriving.discard(arriving)
        if arriving.cancelled() or arriving.exception() is not None:  # gone before it was there
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection in self._clients:
            client = self._clients.pop(connection)
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]

    def _refusal(self, client: str | None) -> ServiceError | None:
        """Why nobody more is let in, or None, once there is room."""
        limit = self._limits.max_connections_per_address
        if client is not None and self._counts[client] >= limit and not self._close_silent(self._of(client)):
            return ServiceError(
                429,
                "too_many_connections",
                f"your address has {limit} connections, the limit is {limit} (ADAVAE_MAX_CONNECTIONS_PER_ADDRESS), and "
                "requests run on all of them: wait for answers, and use connections again",
                retry_after_s=_RETRY_S,
            )
        limit = self._limits.max_connections
        if len(self._clients) >= limit and not self._close_silent(self._of_the_largest()):
            return ServiceError(
                503,
                "too_many_connections",
                f"there are {limit} connections, the limit is {limit} (ADAVAE_MAX_CONNECTIONS, and the limit of open "
                "files), and requests run on all of them: try again in a moment",
                retry_after_s=_RETRY_S,
            )
        return None

    def _of(self, client: str | None) -> list[Connection]:
        return [connection for connection, owner in self._clients.items() if owner == client]

    def _of_the_largest(self) -> list[Connection]:
        """Those of the client that has most silent connections."""
        silent = Counter(client for connection, client in self._clients.items() if connection.is_idle)
        return [connection for client, _ in silent.most_common(1) for connection in self._of(client)]

    def _close_silent(self, among: Iterable[Connection]) -> int:
        """Makes room: closes some of those that nothing is lost with, the longest silent first; returns how many."""
        if not self._is_open:  # at the end all have a moment to say what they came for
            return 0
        silent = [connection for connection in among if connection.is_idle]
        chosen = heapq.nsmallest(min(_CLEARED, 1 + len(silent) // 2), silent, key=lambda each: each.quiet_since)
        for connection in chosen:
            self._forget(connection)
            connection.close()
        if chosen:
            _log.warning("silent connections closed to make room", remedy="raise ADAVAE_MAX_CONNECTIONS")
        return len(chosen)


def _turn_away(accepted: socket.socket, refusal: ServiceError) -> None:
    """Says why, where the other end takes it at once."""
    _log.warning("connection turned away", reason=refusal.code, status=refusal.status)
    body = to_json(error_body(refusal))
    head = (
        f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nretry-after: {refusal.retry_after_s}\r\nconnection: close\r\n"
        f"{HEADER}: {new_request_id()}\r\n\r\n"
    )
    with accepted, contextlib.suppress(OSError):
        accepted.send(head.encode("ascii") + body)
