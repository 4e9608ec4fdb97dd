"""A reply of known length leaves in one write, head and body: a process that dies has sent all of it or nothing.

uvicorn writes the head by itself. Who dies between the two leaves half a reply behind, which a balancer has passed on
and can no longer ask another replica for; and everybody else wakes twice for one answer.
"""

import asyncio
from typing import Protocol

from starlette.types import Message, Send


class Writes(Protocol):
    """What answers by a transport: uvicorn's cycle of a request."""

    transport: asyncio.Transport


class OneWrite:
    """Stands before ``send``: a head that names its length waits for the first part of its body.

    Args:
        cycle: Whose writes these are.
        send: Turns a message into writes of the cycle.
    """

    def __init__(self, cycle: Writes, send: Send) -> None:
        self._cycle, self._send = cycle, send
        self._head: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _names_its_length(message):
            self._head = message
        elif self._head is None:
            await self._send(message)
        else:
            head, self._head = self._head, None
            await self._send_together(head, message)

    async def _send_together(self, head: Message, part: Message) -> None:
        transport = self._cycle.transport
        held = _HeldTransport(transport)
        self._cycle.transport = held
        try:
            await self._send(head)
            await self._send(part)
        finally:
            self._cycle.transport = transport
            held.release()


class _HeldTransport(asyncio.Transport):
    """What is written first waits for what is written next."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._first: bytes | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._first is None:
            self._first = bytes(data)
        else:
            self._transport.write(self._first + data)
            self._first = b""

    def close(self) -> None:
        self.release()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def release(self) -> None:
        """Writes what nothing came after."""
        if self._first:
            self._transport.write(self._first)
        self._first = b""


def _names_its_length(start: Message) -> bool:
    return any(name.lower() == b"content-length" for name, _ in start.get("headers", ()))
