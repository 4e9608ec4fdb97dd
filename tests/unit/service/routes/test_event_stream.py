"""Server-sent events, and clients that leave."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message

from adavae.service.errors import LogitsNotFinite, Overloaded
from adavae.service.main import create_app
from adavae.service.routes.event_stream import EventStream
from tests.unit.service.http_client import client_of, until
from tests.unit.service.stub_latent_service import StubLatentService, stub_settings

STREAM = {"samples": 2, "stream": True}


def events_of(text: str) -> list[tuple[str, str]]:
    """(event, data) of each event."""
    assert text.endswith("\n\n")
    events = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        events.append((fields.get("event", "message"), fields["data"]))
    return events


class Visitor:
    """A client that speaks ASGI: sends one request, keeps what it is answered, and may leave."""

    def __init__(self, app: FastAPI, path: str, body: Any) -> None:
        self.messages: list[Message] = []
        self._body: bytes | None = json.dumps(body).encode()
        self._leaving = asyncio.Event()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
        }
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages).decode()

    def leave(self) -> None:
        self._leaving.set()

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._leaving.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.messages.append(message)


@asynccontextmanager
async def started(latent: StubLatentService) -> AsyncIterator[FastAPI]:
    app = create_app(stub_settings(), latent)
    async with app.router.lifespan_context(app):
        await until(lambda: latent.is_ready)
        yield app


def test_a_stream_is_pieces_then_the_whole_reply_then_done() -> None:
    with client_of() as client:
        reply = client.post("/decode", json=STREAM)
        whole = client.post("/decode", json={"samples": 2}).json()
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache"
    *pieces, last, done = events_of(reply.text)
    assert done == ("message", "[DONE]")
    assert json.loads(last[1]) == whole
    texts = ["", ""]
    for _, data in pieces:
        piece = json.loads(data)
        assert set(piece) == {"index", "text"}
        texts[piece["index"]] += piece["text"]
    assert texts == [row["text"] for row in whole["data"]]


def test_an_error_before_the_first_piece_has_its_own_status() -> None:
    latent = StubLatentService(error=Overloaded("full"))
    with client_of(latent) as client:
        assert client.post("/decode", json=STREAM).status_code == 429
    assert latent.num_running == 0


@pytest.mark.parametrize(
    ("error", "code"), [(LogitsNotFinite((1,)), "not_finite"), (ZeroDivisionError("secret"), "internal_error")]
)
def test_an_error_after_the_start_is_an_event(error: Exception, code: str) -> None:
    latent = StubLatentService(error=error, fail_after=2)
    with client_of(latent) as client:
        reply = client.post("/decode", json=STREAM, headers={"x-request-id": "mine"})
    assert reply.status_code == 200
    kinds = [kind for kind, _ in events_of(reply.text)]
    assert kinds == ["message", "message", "error"]
    assert json.loads(events_of(reply.text)[-1][1])["error"]["code"] == code
    assert "secret" not in reply.text
    assert latent.num_running == 0


@pytest.mark.asyncio
async def test_a_client_that_leaves_a_stream_frees_its_rows() -> None:
    latent = StubLatentService(hold=asyncio.Event())
    async with started(latent) as app:
        visitor = Visitor(app, "/decode", STREAM)
        await until(lambda: '"text"' in visitor.text)
        assert latent.num_running == 1
        visitor.leave()
        await until(lambda: latent.num_running == 0)
        await asyncio.wait_for(visitor.task, 10)
    assert "[DONE]" not in visitor.text


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/encode", {"text": "a"}),
        ("/decode", {"samples": 1}),
        ("/interpolate", {"source": "a", "target": "b"}),
        ("/analogy", {"a": "a", "b": "b", "c": "c"}),
        ("/classify", {"text": "a"}),
    ],
)
async def test_a_client_that_leaves_while_it_waits_frees_its_rows(path: str, body: Any) -> None:
    latent = StubLatentService(hold=asyncio.Event())
    async with started(latent) as app:
        visitor = Visitor(app, path, body)
        await until(lambda: latent.num_running == 1)
        visitor.leave()
        await until(lambda: latent.num_running == 0)
        await asyncio.wait_for(visitor.task, 10)


@pytest.mark.asyncio
async def test_a_request_that_is_cancelled_frees_its_rows() -> None:
    latent = StubLatentService(hold=asyncio.Event())
    async with started(latent) as app:
        for body in ({"samples": 1}, STREAM):
            visitor = Visitor(app, "/decode", body)
            await until(lambda: latent.num_running == 1)
            visitor.task.cancel()
            await asyncio.wait((visitor.task,))
            assert visitor.task.cancelled()
            assert latent.num_running == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("num_turns", range(12))
@pytest.mark.parametrize("body", [{"samples": 1}, STREAM])
async def test_a_request_may_be_cancelled_at_any_moment(body: Any, num_turns: int) -> None:
    """Between its first piece and its reply a cancellation was swallowed, and the rows were decoded to the deadline."""
    latent = StubLatentService(hold=asyncio.Event())
    async with started(latent) as app:
        visitor = Visitor(app, "/decode", body)
        await until(lambda: latent.num_running == 1)
        for _ in range(num_turns):
            await asyncio.sleep(0)
        visitor.task.cancel()
        await asyncio.wait((visitor.task,), timeout=10)
        assert visitor.task.done()
        assert latent.num_running == 0


@pytest.mark.asyncio
async def test_a_request_that_the_servers_end_cuts_off_gets_an_error() -> None:
    """Its client was sent uvicorn's own "Internal Server Error"."""
    latent = StubLatentService(hold=asyncio.Event())
    async with started(latent) as app:
        visitor = Visitor(app, "/decode", {"samples": 1})
        await until(lambda: latent.num_running == 1)
        visitor.task.cancel()
        await asyncio.wait((visitor.task,))
    assert visitor.messages[0]["status"] == 503
    assert (b"retry-after", b"2") in visitor.messages[0]["headers"]
    assert json.loads(visitor.text)["error"]["code"] == "shutting_down"


@pytest.mark.asyncio
async def test_a_quiet_stream_is_kept_open_with_comments() -> None:
    go_on, is_closed = asyncio.Event(), asyncio.Event()

    async def objects() -> AsyncIterator[object]:
        try:
            yield {"n": 1}
            await go_on.wait()
            yield {"n": 2}
        finally:
            is_closed.set()

    sent: list[bytes] = []

    async def send(message: Message) -> None:
        sent.append(message.get("body", b""))

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    stream = EventStream(objects(), keepalive_s=0.005)  # type: ignore[arg-type]
    scope = {"type": "http", "state": {"request_id": "x"}}
    sending = asyncio.ensure_future(stream(scope, receive, send))
    await until(lambda: sent.count(b": keepalive\n\n") >= 3)
    go_on.set()
    await asyncio.wait_for(sending, 10)
    assert [part for part in sent if part.startswith(b"data")] == [
        b'data: {"n":1}\n\n',
        b'data: {"n":2}\n\n',
        b"data: [DONE]\n\n",
    ]
    assert is_closed.is_set()
