"""What clients of other making send, byte for byte, to a real server over a stub."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from tests.integration.real_server import serving
from tests.unit.service.stub_latent_service import StubLatentService

BODY = b'{"text": "hello"}'
POST = b"POST /encode HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(
    BODY
)
OFFER = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n"


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with serving(StubLatentService()) as url:
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


def test_an_offer_of_http_2_is_ignored_and_its_body_is_read(address: tuple[str, int]) -> None:
    """Java's clients send one with their first request, in pieces or whole."""
    for pieces in ([POST + OFFER + b"\r\n" + BODY], [POST + OFFER + b"\r\n", BODY]):
        with socket.create_connection(address, timeout=20) as connection:
            for piece in [*pieces, POST + b"\r\n" + BODY]:
                connection.sendall(piece)
            replies = _received(connection, b"HTTP/1.1 200 OK", times=2)
        assert replies.count(b"HTTP/1.1 ") == 2


def test_headers_without_end_are_refused(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long: ")
        with pytest.raises(ConnectionError):
            for _ in range(4096):
                connection.sendall(b"a" * 65_536)


def test_what_is_no_http_is_refused(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n")  # how TLS begins
        assert _received(connection, b"HTTP/1.1 400").startswith(b"HTTP/1.1 400")


def _received(connection: socket.socket, wanted: bytes, times: int = 1) -> bytes:
    """Everything up to the end, or until ``wanted`` has come so many times."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while received.count(wanted) < times and (piece := connection.recv(65_536)):
            received += piece
    return received
