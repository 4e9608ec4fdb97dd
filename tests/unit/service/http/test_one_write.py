"""Head and body of a reply are one write: a process that dies leaves no half of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.server import ServerState

from adavae.service.http.connection import Connection
from adavae.service.http.connection_limits import ConnectionLimits
from adavae.service.http.http_server import http_config


class RecordingTransport(asyncio.Transport):
    """Remembers its writes, and when it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.num_written_at_close: int | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data:
            self.writes.append(bytes(data))

    def close(self) -> None:
        self.num_written_at_close = len(self.writes)

    def is_closing(self) -> bool:
        return self.num_written_at_close is not None

    def pause_reading(self) -> None:
        """As there is nothing to read."""

    resume_reading = pause_reading


def text(_request: Request) -> Response:
    return PlainTextResponse("hello")


def nothing(_request: Request) -> Response:
    return Response(status_code=204)


def stream(request: Request) -> Response:
    async def parts() -> Any:
        for part in (b"one", b"two", b"three"):
            yield part

    length = {"content-length": "11"} if "length" in request.query_params else {}
    return StreamingResponse(parts(), headers=length)


async def echo(request: Request) -> Response:
    return JSONResponse(await request.json())


APP = Starlette(
    routes=[
        Route("/text", text, methods=["GET", "HEAD"]),
        Route("/nothing", nothing),
        Route("/stream", stream),
        Route("/echo", echo, methods=["POST"]),
    ]
)


async def answered(sent: bytes, until: Callable[[RecordingTransport], bool], app: Any = APP) -> RecordingTransport:
    config = http_config(app, shutdown_s=1)
    config.load()
    connection = Connection(config, ServerState(), {}, limits=ConnectionLimits(), on_lost=lambda _: None)
    transport = RecordingTransport()
    connection.connection_made(transport)
    connection.data_received(sent)
    for _ in range(1000):
        if until(transport):
            break
        await asyncio.sleep(0.001)
    else:
        pytest.fail(f"only came: {transport.writes}")
    return transport


def ends_with(part: bytes) -> Callable[[RecordingTransport], bool]:
    return lambda transport: b"".join(transport.writes).endswith(part)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("sent", "end"),
    [
        (b"GET /text HTTP/1.1\r\nhost: a\r\n\r\n", b"\r\n\r\nhello"),
        (b"HEAD /text HTTP/1.1\r\nhost: a\r\n\r\n", b"\r\n\r\n"),
        (b"GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n", b"\r\n\r\n"),
        (b"GET /unknown HTTP/1.1\r\nhost: a\r\n\r\n", b"\r\n\r\nNot Found"),
        (b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}", b"\r\n\r\n{}"),
    ],
)
async def test_a_reply_of_known_length_is_one_write(sent: bytes, end: bytes) -> None:
    transport = await answered(sent, ends_with(end))
    assert len(transport.writes) == 1
    assert not transport.is_closing()


@pytest.mark.asyncio
async def test_a_reply_that_ends_the_connection_is_written_before_it_is_closed() -> None:
    sent = b"GET /text HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    transport = await answered(sent, RecordingTransport.is_closing)
    assert (len(transport.writes), transport.num_written_at_close) == (1, 1)
    assert transport.writes[0].endswith(b"hello")


@pytest.mark.asyncio
async def test_replies_of_requests_sent_at_once_are_one_write_each_and_in_order() -> None:
    """The last of them is malformed, and refused behind what came before it."""
    get = b"GET /text HTTP/1.1\r\nhost: a\r\n\r\n"
    transport = await answered(get * 3 + b"nonsense\r\n\r\n", RecordingTransport.is_closing)
    assert [write.partition(b"\r\n")[0].split(b" ")[1] for write in transport.writes] == [b"200"] * 3 + [b"400"]


@pytest.mark.asyncio
async def test_a_stream_begins_at_once() -> None:
    transport = await answered(b"GET /stream HTTP/1.1\r\nhost: a\r\n\r\n", ends_with(b"0\r\n\r\n"))
    assert transport.writes[0].endswith(b"\r\n\r\n")
    assert len(transport.writes) > 2


@pytest.mark.asyncio
async def test_a_download_of_known_length_begins_with_its_first_part() -> None:
    transport = await answered(b"GET /stream?length HTTP/1.1\r\nhost: a\r\n\r\n", ends_with(b"three"))
    assert transport.writes[0].endswith(b"\r\n\r\none")
    assert transport.writes[1:] == [b"two", b"three"]


@pytest.mark.asyncio
async def test_what_fails_between_head_and_body_is_an_error_and_no_half_reply() -> None:
    async def fails(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        raise ValueError("no body after all")

    transport = await answered(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", RecordingTransport.is_closing, fails)
    assert b"".join(transport.writes).startswith(b"HTTP/1.1 500 ")
