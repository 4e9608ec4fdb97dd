"""Bytes on sockets, for what no client sends."""

import contextlib
import socket
import time
from collections.abc import Iterator

Address = tuple[str, int]
_CHUNK_BYTES = 65_536


@contextlib.contextmanager
def connected(address: Address, patience_s: float = 30.0) -> Iterator[socket.socket]:
    with socket.create_connection(address, timeout=patience_s) as connection:
        yield connection


def exchange(address: Address, content: bytes, *, patience_s: float = 30.0, is_half_closed: bool = False) -> bytes:
    """What comes back until the other end closes; raises TimeoutError where it does not."""
    with connected(address, patience_s) as connection:
        with contextlib.suppress(ConnectionError):  # it may have been answered before all of it was read
            connection.sendall(content)
        if is_half_closed:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        return received(connection, patience_s)


def received(connection: socket.socket, patience_s: float) -> bytes:
    """Everything until the end; raises TimeoutError where there is none."""
    pieces, end_s = [], time.monotonic() + patience_s
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(_CHUNK_BYTES):
            pieces.append(piece)
            if time.monotonic() > end_s:
                raise TimeoutError("bytes come without end")
    return b"".join(pieces)


def last_answer(content: bytes) -> tuple[int, bytes] | None:
    """Status and body of the last answer among the bytes; None where there is none."""
    _, found, last = content.rpartition(b"HTTP/1.1 ")
    if not found:
        return None
    head, _, body = last.partition(b"\r\n\r\n")
    return int(head[:3]), body


def head(method: str, path: str, *lines: str) -> bytes:
    """A head as clients send it, with more lines."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: localhost", *lines, "", ""]).encode("latin-1")
