"""What clients of other making send, byte for byte, to a real server over a stub."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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


_GET, _HOST = b"GET /healthz HTTP/1.1\r\n", b"host: localhost\r\n"
_JSON = b"content-type: application/json\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "how TLS begins": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400, "malformed_http"),
    "nothing but lines": (b"\r\n" * 40 + b"x\r\n\r\n", 400, "malformed_http"),
    "HTTP/3.7": (b"GET /healthz HTTP/3.7\r\n" + _HOST, 505, "unknown_http_version"),
    "HTTP/2.0": (b"GET /healthz HTTP/2.0\r\n" + _HOST, 505, "unknown_http_version"),
    "HTTP/1.2": (b"GET /healthz HTTP/1.2\r\n" + _HOST, 505, "unknown_http_version"),
    "HTTP/0.9": (b"GET /healthz HTTP/0.9\r\n" + _HOST, 505, "unknown_http_version"),
    "no version": (b"GET /healthz\r\n" + _HOST, 400, "malformed_http"),
    "HTTP/11.1": (b"GET /healthz HTTP/11.1\r\n" + _HOST, 400, "malformed_http"),
    "no host": (_GET, 400, "malformed_http"),
    "two hosts": (_GET + _HOST + b"host: evil.example\r\n", 400, "malformed_http"),
    "length and coding": (POST + _CHUNKED, 400, "ambiguous_length"),
    "coding and length": (
        b"POST /encode HTTP/1.1\r\n" + _HOST + _JSON + _CHUNKED + b"Content-Length: 17\r\n",
        400,
        "ambiguous_length",
    ),
    "coding in HTTP/1.0": (b"POST /encode HTTP/1.0\r\n" + _HOST + _JSON + _CHUNKED, 400, "ambiguous_length"),
    "two lengths": (POST + b"content-length: 16\r\n", 400, "malformed_http"),
    "two lengths in one": (b"POST /encode HTTP/1.1\r\n" + _HOST + b"content-length: 17, 16\r\n", 400, "malformed_http"),
    "a length that is none": (b"POST /encode HTTP/1.1\r\n" + _HOST + b"content-length: +17\r\n", 400, "malformed_http"),
    "two codings": (b"POST /encode HTTP/1.1\r\n" + _HOST + _CHUNKED * 2, 501, "unknown_transfer_coding"),
    "gzip": (b"POST /encode HTTP/1.1\r\n" + _HOST + b"transfer-encoding: gzip\r\n", 501, "unknown_transfer_coding"),
    "a space before the colon": (_GET + _HOST + b"content-length : 5\r\n", 400, "malformed_http"),
    "a folded line at first": (_GET + b" x: y\r\n" + _HOST, 400, "malformed_http"),
    "a zero byte": (_GET + _HOST + b"x: a\x00b\r\n", 400, "malformed_http"),
    "101 headers": (_GET + _HOST + b"x: y\r\n" * 100, 431, "headers_too_large"),
    "headers of 40 KB at once": (_GET + _HOST + b"x: " + b"y" * 40_000 + b"\r\n", 431, "headers_too_large"),
    "an address of another scheme": (b"GET ftp://localhost/healthz HTTP/1.1\r\n" + _HOST, 400, "malformed_target"),
    "an address with a password": (b"GET http://a:b@localhost/healthz HTTP/1.1\r\n" + _HOST, 400, "malformed_target"),
    "an address without a host": (b"GET http:///healthz HTTP/1.1\r\n" + _HOST, 400, "malformed_target"),
    "a path of 40 KB": (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n" + _HOST, 431, "headers_too_large"),
}


@pytest.mark.parametrize(("head", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_what_could_be_understood_in_two_ways_is_refused_and_what_comes_behind_not_read(
    address: tuple[str, int], head: bytes, status: int, code: str
) -> None:
    behind = _GET + _HOST + b"\r\n"
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(head + b"\r\n" + BODY + behind)
        received = _received_all(connection)
    assert received.count(b"HTTP/1.1 ") == 1
    reply = _reply(received)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert (reply.headers["connection"], reply.headers["content-type"]) == ("close", "application/json")
    assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["x-request-id"])


def test_a_target_may_be_a_whole_address_as_clients_of_a_proxy_send_it(address: tuple[str, int]) -> None:
    """It was a 404. One connection, and the forms in turn."""
    post = POST.replace(b"/encode", b"http://localhost/encode")
    heads = [
        _GET.replace(b"/healthz", target) for target in (b"http://localhost/healthz", b"HTTP://localhost:1/healthz")
    ]
    requests = [*(head + _HOST + b"\r\n" for head in heads), post + b"\r\n" + BODY, _GET + _HOST + b"\r\n"]
    with socket.create_connection(address, timeout=20) as connection:
        for number, request in enumerate(requests, start=1):
            connection.sendall(request)
            assert _received(connection, b"HTTP/1.1 200 OK", times=1).count(b"HTTP/1.1 ") == 1, number


def test_the_host_of_a_whole_address_counts_and_the_header_does_not(address: tuple[str, int]) -> None:
    for host, header, status in ((b"localhost", b"evil.example", 200), (b"evil.example", b"localhost", 403)):
        target = b"GET http://" + host + b"/adapters?limit=1 HTTP/1.1\r\nconnection: close\r\n"
        with socket.create_connection(address, timeout=20) as connection:
            connection.sendall(target + b"host: " + header + b"\r\n\r\n")
            assert _reply(_received_all(connection)).status == status


def test_a_balancer_may_ask_for_health_in_http_1_0_without_a_host(address: tuple[str, int]) -> None:
    for method, path, status in ((b"GET", b"/healthz", 200), (b"HEAD", b"/readyz", 200), (b"GET", b"/adapters", 403)):
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(method + b" " + path + b" HTTP/1.0\r\n\r\n")
            reply = _reply(_received_all(connection))
        assert reply.status == status
        assert (reply.body == b"") == (method == b"HEAD")


def test_what_was_sent_is_not_sent_back(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(_GET + _HOST + b"authorization: Bearer s3cret\x01\r\n\r\n")
        assert b"s3cret" not in _received_all(connection)


@pytest.mark.parametrize(
    "rest",
    [
        b"zz\r\n",
        b"5\r\nhell",
        b"-1\r\n\r\n",
        b"ffffffffffffffffffff\r\n",
        b"5\r\nhelloXX\r\n",
        b"0\r\nx\x00: y\r\n\r\n",
    ],
)
def test_a_body_that_breaks_off_or_is_no_chunk_ends_its_request(address: tuple[str, int], rest: bytes) -> None:
    head = b"POST /encode HTTP/1.1\r\n" + _HOST + _JSON + _CHUNKED + b"\r\n"
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(head + b"2\r\n{}\r\n" + rest)
        connection.shutdown(socket.SHUT_WR)
        received = _received_all(connection)
    assert not received or _reply(received).status in (400, 422)
    assert _status(address) == 200


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        return error


def _reply(received: bytes) -> Reply:
    head, _, body = received.partition(b"\r\n\r\n")
    line, *headers = head.decode("latin-1").split("\r\n")
    pairs = [header.partition(": ") for header in headers]
    return Reply(int(line.split(" ")[1]), {name.lower(): value for name, _, value in pairs}, body)


def _status(address: tuple[str, int]) -> int:
    """What somebody else is answered meanwhile."""
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        return _reply(_received_all(connection)).status


def _received_all(connection: socket.socket) -> bytes:
    """Everything up to the end, which must come."""
    return _received(connection, b"")


def _received(connection: socket.socket, wanted: bytes, times: int = 1) -> bytes:
    """Everything up to the end, or until ``wanted`` has come so many times."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while (not wanted or received.count(wanted) < times) and (piece := connection.recv(65_536)):
            received += piece
    return received
