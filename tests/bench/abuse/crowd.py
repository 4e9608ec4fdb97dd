"""Sockets that stay: some are idle, some say a byte from time to time, some take nothing of what they asked for."""

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterator

from tests.bench.abuse.wire import Address

_MOST = 450
_PAUSE_S = 0.5


class Crowd:
    """Keeps the newest of the sockets it is given open; those that drip get a byte every half second."""

    def __init__(self, address: Address) -> None:
        self._address, self._kept = address, deque[socket.socket]()
        self._dripping: deque[socket.socket] = deque(maxlen=_MOST)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._drip, name="crowd", daemon=True)

    def add(self, content: bytes, *, is_dripping: bool = False, takes_little: bool = False) -> None:
        """Opens one more and says ``content``; whoever is turned away is turned away."""
        connection = socket.socket()
        connection.settimeout(5)
        if takes_little:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(OSError):
            connection.connect(self._address)
            connection.sendall(content)
        self._kept.append(connection)
        if is_dripping:
            self._dripping.append(connection)
        while len(self._kept) > _MOST:
            self._kept.popleft().close()

    def _drip(self) -> None:
        while not self._is_over.wait(_PAUSE_S):
            for connection in list(self._dripping):
                try:
                    connection.send(b"a", socket.MSG_DONTWAIT)
                except OSError:
                    with contextlib.suppress(ValueError):
                        self._dripping.remove(connection)

    @contextlib.contextmanager
    def present(self) -> Iterator["Crowd"]:
        """All leave at the end."""
        self._thread.start()
        try:
            yield self
        finally:
            self._is_over.set()
            self._thread.join(30)
            for connection in self._kept:
                connection.close()
