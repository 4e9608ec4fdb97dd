"""The engine's name server, as small as a balancer needs it: a service's name has the addresses of its replicas."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Sequence

_HEADER = struct.Struct(">6H")
_ANSWER = struct.Struct(">3HIH4s")
_POINTER_TO_QUESTION, _A, _IN = 0xC00C, 1, 1
_ANSWERED, _NO_SUCH_NAME = 0x8180, 0x8183


class NameServer:
    """Answers until closed, each question anew.

    Args:
        lookup: IPv4 addresses of a name, none where there is no such name.
    """

    def __init__(self, lookup: Callable[[str], Sequence[str]]) -> None:
        self._lookup = lookup
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        number = _HEADER.unpack_from(query)[0]
        labels, place = list[str](), _HEADER.size
        while length := query[place]:
            labels.append(query[place + 1 : place + 1 + length].decode("ascii"))
            place += 1 + length
        question = query[_HEADER.size : place + 5]
        kind = int.from_bytes(query[place + 1 : place + 3], "big")
        known = self._lookup(".".join(labels))
        addresses = known if kind == _A else []
        head = _HEADER.pack(number, _ANSWERED if known else _NO_SUCH_NAME, 1, len(addresses), 0, 0)
        records = (
            _ANSWER.pack(_POINTER_TO_QUESTION, _A, _IN, 1, 4, socket.inet_aton(address)) for address in addresses
        )
        return head + question + b"".join(records)
