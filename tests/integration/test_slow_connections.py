"""Connections that keep a server waiting: in what way ever they do it, they end, and everybody else is answered."""

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.real_server import serving
from tests.integration.served import Served
from tests.integration.test_http_wire import BODY, POST, Reply, _received_all, _reply, _status
from tests.unit.service.stub_latent_service import StubLatentService

Address = tuple[str, int]
GET = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
SHORT: dict[str, Any] = {"header_timeout_s": 0.3, "body_timeout_s": 0.3, "write_timeout_s": 0.5, "keep_alive_s": 1}


@contextlib.contextmanager
def listening(latent: StubLatentService | None = None, **fields: Any) -> Iterator[Address]:
    with serving(latent or StubLatentService(), **fields) as url:
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with listening(**SHORT) as address:
        yield address


def connected(address: Address) -> socket.socket:
    return socket.create_connection(address, timeout=60)


def last_reply(connection: socket.socket) -> Reply | None:
    """The last of what comes until the server ends the connection; None where nothing came."""
    received = _received_all(connection)
    _, found, last = received.rpartition(b"HTTP/1.1 ")
    return _reply(found + last) if found else None


@pytest.mark.parametrize(
    ("sent", "status"),
    {
        "nothing": (b"", None),
        "one letter": (b"G", 408),
        "a line": (b"GET /healthz HTTP/1.1\r\n", 408),
        "a head without its end": (b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n", 408),
        "a request, and silence": (GET, 200),
        "a request, and half of another": (GET + b"GET /healthz HT", 200),
        "a request, and a letter of another": (GET + b"G", 200),
    }.values(),
    ids=str,
)
def test_a_head_that_does_not_come_ends_the_connection(address: Address, sent: bytes, status: int | None) -> None:
    with connected(address) as connection:
        connection.sendall(sent)
        reply = last_reply(connection)
    assert (None if reply is None else reply.status) == status
    if reply is not None and status == 408:
        assert "ADAVAE_HEADER_TIMEOUT_S" in reply.error["message"]


def test_a_head_that_drips_in_after_an_answer_ends_the_connection(address: Address) -> None:
    with connected(address) as connection:
        connection.sendall(GET)
        assert connection.recv(15).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /heal")
        reply = last_reply(connection)
    assert reply is not None
    assert (reply.status, reply.error["code"]) == (408, "headers_too_slow")


def drips(head: bytes) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        connection.sendall(head)
        with contextlib.suppress(OSError):
            for _ in range(200):
                connection.sendall(b" ")
                time.sleep(0.05)

    return send


CHUNKED = (
    b"POST /encode HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
)
UNREAD = b"POST /nothing HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    {
        "none of it": (POST + b"\r\n", 408),
        "half of it": (POST + b"\r\n" + BODY[:5], 408),
        "no chunk": (CHUNKED, 408),
        "half a chunk": (CHUNKED + b"ff\r\n{", 408),
        "no last chunk": (CHUNKED + b"2\r\n{}\r\n", 408),
        "of a request that nobody reads": (UNREAD, 404),
        "of a form": (
            b"POST /v1/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: multipart/form-data; boundary=x\r\n"
            b"content-length: 100000\r\n\r\n--x\r\n",
            503,  # training is off
        ),
    }.values(),
    ids=str,
)
def test_a_body_that_does_not_come_ends_the_connection(address: Address, sent: bytes, status: int) -> None:
    with connected(address) as connection:
        connection.sendall(sent)
        reply = last_reply(connection)
    assert reply is not None
    assert reply.status == status
    if status == 408:
        assert "ADAVAE_BODY_TIMEOUT_S" in reply.error["message"]
        assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("head", [UNREAD, CHUNKED + b"ffff\r\n"], ids=["unread", "read"])
def test_a_body_that_drips_is_no_better(address: Address, head: bytes) -> None:
    with connected(address) as connection:
        drips(head)(connection)
        connection.settimeout(60)
        with contextlib.suppress(ConnectionError):
            _received_all(connection)


def test_a_client_that_takes_nothing_is_cut_off(address: Address) -> None:
    """Thirty of them, each with a download of 60 MB, took the memory of the whole service."""
    wanted = 200
    asked = b"GET /page/vendor/echarts.js HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with connected(address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(asked * wanted)
        with pytest.raises(ConnectionError):
            while True:
                connection.sendall(b"\r\n")
                assert _status(address) == 200
        assert _received_all(connection).count(b"HTTP/1.1 200") < wanted


def test_a_download_is_read_no_faster_than_it_is_taken() -> None:
    """Thirty downloads of 60 MB that nobody took were 1.6 GB in memory."""
    latent = StubLatentService(num_copies=10_000_000)
    asked = b"GET /adapters/yelp/archive HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with listening(latent, write_timeout_s=0.5) as address, connected(address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        connection.sendall(asked)
        deadline_s = time.monotonic() + 60
        while latent.num_downloads_closed == 0:
            assert time.monotonic() < deadline_s
            assert _status(address) == 200
        assert latent.num_bytes_sent < 20_000_000
        assert len(_received_all(connection)) < 20_000_000


def test_a_client_that_takes_its_time_gets_everything() -> None:
    with listening(write_timeout_s=60) as address, connected(address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
        asked = b"GET /page/vendor/echarts.js HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        connection.sendall(asked)
        reply = _reply(_received_all(connection))
        assert len(reply.body) == int(reply.headers["content-length"])


def test_idle_connections_make_room_for_newcomers() -> None:
    """1,100 sockets that said nothing were enough to keep everybody out for as long as they stayed."""
    with listening(max_connections=40, header_timeout_s=1000.0) as address, contextlib.ExitStack() as sockets:
        for number in range(200):
            idle = sockets.enter_context(connected(address))
            with contextlib.suppress(OSError):  # gone already
                idle.sendall((b"", b"G", b"GET / HTTP/1.1\r\nhost: local", GET)[number % 4])
            if number % 50 == 49:
                assert _status(address) == 200


def hold_all(latent: StubLatentService, address: Address, sockets: contextlib.ExitStack, number: int) -> None:
    for _ in range(number):
        sockets.enter_context(connected(address)).sendall(POST + b"\r\n" + BODY)
    deadline_s = time.monotonic() + 60
    while latent.num_running < number:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("fields", "status", "setting"),
    [
        ({"max_connections": 8}, 503, "ADAVAE_MAX_CONNECTIONS,"),
        ({"max_connections_per_address": 8}, 429, "ADAVAE_MAX_CONNECTIONS_PER_ADDRESS"),
    ],
)
def test_where_every_connection_is_being_answered_a_newcomer_is_told(
    fields: dict[str, int], status: int, setting: str
) -> None:
    latent = StubLatentService(hold=_Never())  # type: ignore[arg-type]
    with listening(latent, shutdown_s=0.1, **fields) as address, contextlib.ExitStack() as sockets:
        hold_all(latent, address, sockets, 8)
        reply = last_reply(sockets.enter_context(connected(address)))
        assert reply is not None
        assert (reply.status, reply.error["code"]) == (status, "too_many_connections")
        assert setting in reply.error["message"]
        assert int(reply.headers["retry-after"]) > 0
        sockets.close()  # who leaves makes room, with what was being done for them
        deadline_s = time.monotonic() + 60
        while latent.num_running:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        assert _status(address) == 200


class _Never:
    """An event of whatever loop, that does not come."""

    async def wait(self) -> None:
        await asyncio.Event().wait()


def test_a_client_that_closes_its_half_has_left_and_its_work_ends() -> None:
    latent = StubLatentService(hold=_Never())  # type: ignore[arg-type]
    with listening(latent) as address, connected(address) as connection:
        connection.sendall(POST + b"\r\n" + BODY)
        deadline_s = time.monotonic() + 60
        while not latent.num_running:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        connection.shutdown(socket.SHUT_WR)
        assert _received_all(connection) == b""
        while latent.num_running:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)


@pytest.mark.slow
def test_under_few_descriptors_others_are_answered_and_the_log_stays_short(tmp_path: Path) -> None:
    """300 unfinished bodies under 256 descriptors: nobody was answered, and 413,000 lines were logged."""
    server = Served(tmp_path, before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
    try:
        host, port = server.url().removeprefix("http://").split(":")
        address = host, int(port)
        with contextlib.ExitStack() as sockets:
            for number in range(300):
                with contextlib.suppress(OSError):
                    sockets.enter_context(connected(address)).sendall(POST + b"\r\n" + BODY[:5])
                if number % 100 == 99:
                    _status_or_told(address)
        assert _status(address) == 200
        server.process.terminate()
        code, stderr = server.ended()
        assert code == 0
        assert len(stderr.splitlines()) < 200
        assert "Traceback" not in stderr
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.ended()


def _status_or_told(address: Address) -> None:
    with connected(address) as connection:
        connection.sendall(GET)
        assert connection.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503")
