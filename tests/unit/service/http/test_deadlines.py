"""The time of a request is counted from its first byte: while its body comes in, while its answer is found."""

import asyncio
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from adavae.service.errors import DeadlineExceeded
from adavae.service.http.deadlines import FIRST_BYTE, Deadline, Deadlines, deadline_of
from tests.unit.service.http_client import client_of
from tests.unit.service.stub_latent_service import StubLatentService

LONG_S = 1000.0


def scope_of(began: float | None = None) -> Scope:
    return {"type": "http", "path": "/v1/files", "state": {} if began is None else {FIRST_BYTE: began}}


async def body_of(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def through(app: Any, scope: Scope, messages: list[Message], **times: float) -> Any:
    """What ``app`` makes of messages, of which the last but one is followed by silence."""
    waiting = iter(messages)

    async def receive() -> Message:
        for message in waiting:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(_message: Message) -> None:
        raise AssertionError("nothing is sent here")

    return Deadlines(app, **({"request_s": LONG_S, "body_s": LONG_S} | times))(scope, receive, send)


@pytest.mark.asyncio
async def test_a_body_that_does_not_come_is_given_up_with_408() -> None:
    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await body_of(receive)

    began = asyncio.get_running_loop().time() - 3.0
    piece: Message = {"type": "http.request", "body": b"ab", "more_body": True}
    with pytest.raises(HTTPException, match=r"2 bytes of the body came in time, the limit is 2 s") as caught:
        await through(app, scope_of(began), [piece], body_s=2.0)
    assert (caught.value.status_code, caught.value.headers) == (408, {"connection": "close"})


@pytest.mark.asyncio
async def test_a_large_body_has_more_time_the_more_of_it_has_come() -> None:
    seen = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        seen.append(len(await body_of(receive)))

    began = asyncio.get_running_loop().time() - 3.0
    pieces: list[Message] = [
        {"type": "http.request", "body": bytes(8192), "more_body": number < 3} for number in range(4)
    ]
    await through(app, scope_of(began), pieces, body_s=2.9)
    assert seen == [4 * 8192]


@pytest.mark.asyncio
async def test_after_the_body_the_client_may_be_silent_for_as_long_as_it_likes() -> None:
    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        await body_of(receive)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.05)

    began = asyncio.get_running_loop().time() - 3.0
    await through(app, scope_of(began), [{"type": "http.request", "body": b""}], body_s=3.01)


@pytest.mark.asyncio
async def test_the_deadline_counts_from_the_first_byte_where_it_is_known() -> None:
    seen: list[Deadline] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(deadline_of(scope))

    now = asyncio.get_running_loop().time()
    await through(app, scope_of(now - 50.0), [], request_s=60.0)
    await through(app, scope_of(), [], request_s=60.0)
    assert seen[0] == Deadline(now + 10.0, 60.0)
    assert now + 60.0 <= seen[1].at <= now + 120.0


@pytest.mark.asyncio
async def test_what_is_not_finished_in_time_ends_with_the_setting_named() -> None:
    with pytest.raises(DeadlineExceeded, match="no answer within 60 s"):
        async with Deadline(asyncio.get_running_loop().time() - 1.0, 60.0).kept():
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/encode", {"text": "a"}),
        ("/classify", {"text": "a"}),
        ("/decode", {"samples": 1}),
        ("/interpolate", {"source": "a", "target": "b", "steps": 2}),
        ("/analogy", {"a": "a", "b": "b", "c": "c"}),
        ("/variations", {"text": "a"}),
        ("/traverse", {"text": "a", "direction": {"dimension": 0}}),
        ("/map", {"texts": ["a", "b", "c"]}),
    ],
)
def test_every_operation_ends_at_the_deadline_and_its_work_with_it(path: str, body: dict[str, object]) -> None:
    latent = StubLatentService(hold=asyncio.Event())
    with client_of(latent, deadline_s=0.05) as client:
        reply = client.post(path, json=body)
        assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_exceeded"), reply.text
        assert latent.num_running == 0
        assert latent.num_ended == 1


def test_a_stream_that_has_begun_ends_at_the_deadline_with_an_error_event() -> None:
    latent = StubLatentService(hold=asyncio.Event())
    with client_of(latent, deadline_s=3.0) as client:  # the stream has begun long before, on a busy machine too
        reply = client.post("/decode", json={"samples": 1, "stream": True})
        assert reply.status_code == 200
        assert "event: error" in reply.text
        assert "deadline_exceeded" in reply.text
        assert "[DONE]" not in reply.text
        assert latent.num_running == 0
