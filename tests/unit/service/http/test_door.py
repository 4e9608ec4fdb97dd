"""The door, with sockets that fail: nothing spins, nothing is lost."""

import asyncio
import errno
import resource
import socket
from collections.abc import Callable
from typing import Any

import pytest
import structlog.testing

from adavae.service.http import door as door_of
from adavae.service.http.connection import Connection
from adavae.service.http.connection_limits import ConnectionLimits, descriptors_left
from adavae.service.http.door import Door
from tests.unit.service.http_client import until
from tests.unit.service.stub_latent_service import stub_settings


class Listener(socket.socket):
    """A real one, which fails as it is told to.

    Attributes:
        failures: Numbers of the errors that the next calls raise.
        num_calls: Of ``accept``.
    """

    failures: list[int]
    num_calls = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.num_calls += 1
        if self.failures:
            raise OSError(self.failures.pop(0), "failed")
        return super().accept()


class Greeter(asyncio.Protocol):
    """In place of a connection: says hello."""

    is_idle, quiet_since = True, 0.0

    def __init__(self, on_lost: Callable[[Any], None]) -> None:
        self._on_lost = on_lost

    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")
        transport.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._on_lost(self)


def made(on_lost: Callable[[Connection], None]) -> Connection:
    return Greeter(on_lost)  # type: ignore[return-value]


def greeted(address: Any) -> bytes:
    with socket.create_connection(address, timeout=60) as connection:
        received = b""
        while piece := connection.recv(100):
            received += piece
        return received


@pytest.mark.asyncio
@pytest.mark.parametrize("failure", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_without_descriptors_it_waits_and_goes_on(failure: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio tried 2,048 times at once, with a line in the log and a timer for each."""
    monkeypatch.setattr(door_of, "_PAUSE_S", 0.02)
    with Listener() as listener, structlog.testing.capture_logs() as lines:
        listener.failures = [failure] * 3
        listener.bind(("127.0.0.1", 0))
        listener.listen(10)
        door = Door([listener], made, ConnectionLimits())
        door.open()
        assert await asyncio.to_thread(greeted, listener.getsockname()) == b"hello"
        assert 4 <= listener.num_calls <= 6
        assert [line["event"] for line in lines] == ["no connection can be taken"] * 3
        await door.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("failure", [errno.ECONNABORTED, errno.EINTR, errno.EPROTO, errno.EPERM])
async def test_a_connection_that_fails_is_not_the_next_ones_fault(failure: int) -> None:
    with Listener() as listener:
        listener.failures = [failure]
        listener.bind(("127.0.0.1", 0))
        listener.listen(10)
        door = Door([listener], made, ConnectionLimits())
        door.open()
        assert await asyncio.to_thread(greeted, listener.getsockname()) == b"hello"
        await door.close()


@pytest.mark.asyncio
async def test_who_has_left_is_forgotten() -> None:
    with Listener() as listener:
        listener.failures = []
        listener.bind(("127.0.0.1", 0))
        listener.listen(10)
        door = Door([listener], made, ConnectionLimits())
        door.open()
        for _ in range(5):
            await asyncio.to_thread(greeted, listener.getsockname())
        await until(lambda: not door._clients and not door._counts, 60)
        await door.close()


def test_there_are_no_more_connections_than_files_may_be_opened() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 16 <= descriptors_left() < soft
    limits = ConnectionLimits.of(stub_settings(max_connections=10**9))
    assert limits.max_connections <= soft // 2
    assert ConnectionLimits.of(stub_settings(max_connections=3)).max_connections == 3
