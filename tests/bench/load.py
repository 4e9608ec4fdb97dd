"""A load generator that costs almost nothing: HTTP/1.1 over persistent connections, closed loop and open loop."""

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's outcome; ``seconds`` from when it was due to the last byte."""

    status: int
    seconds: float
    finished_at: float
    path: str = ""


def written(body: Body) -> bytes:
    """JSON; of a thousand numbers it takes half a millisecond, which is not the server's."""
    return json.dumps(body).encode()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage collection in the load generator: its pauses would be attributed to the server."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Connection:
    """One persistent connection, one request at a time."""

    def __init__(self, host: str, port: int, *, key: str | None = None) -> None:
        self.host, self.port = host, port
        self._key = "" if key is None else f"x-api-key: {key}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: Body | bytes) -> tuple[int, bytes]:
        """Status and body of the reply."""
        content = body if isinstance(body, bytes) else written(body)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\ncontent-type: application/json\r\n"
            f"{self._key}content-length: {len(content)}\r\n\r\n"
        )
        request = head.encode() + content
        if self._streams is not None:  # the server may have closed it meanwhile, as it does with idle ones
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                return await self._exchange(request)
            self.close()
        self._streams = await asyncio.open_connection(self.host, self.port)
        return await self._exchange(request)

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        assert self._streams is not None  # post has opened them
        reader, writer = self._streams
        writer.write(request)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        reply = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(lines[0].split()[1]), reply

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def closed_loop(
    host: str, port: int, request: Callable[[int], tuple[str, Body | bytes]], *, num_clients: int, num_requests: int
) -> list[Answer]:
    """``num_clients`` clients that each send the next request once the last is answered."""
    answers: list[Answer] = []
    numbers = iter(range(num_requests))

    async def client() -> None:
        connection = Connection(host, port)
        for number in numbers:
            path, body = request(number)
            began = time.perf_counter()
            status, _ = await connection.post(path, body)
            ended = time.perf_counter()
            answers.append(Answer(status, ended - began, ended, path))
        connection.close()

    with undisturbed():
        await asyncio.gather(*(client() for _ in range(num_clients)))
    return answers


async def open_loop(
    host: str, port: int, request: Callable[[int], tuple[str, Body]], *, per_s: float, duration_s: float
) -> list[Answer]:
    """Requests at a fixed rate, whether or not earlier ones are answered."""
    answers: list[Answer] = []
    free: list[Connection] = []

    async def one(number: int, due: float) -> None:
        connection = free.pop() if free else Connection(host, port)
        path, body = request(number)
        status, _ = await connection.post(path, body)
        ended = time.perf_counter()
        answers.append(Answer(status, ended - due, ended, path))
        free.append(connection)

    with undisturbed():
        began = time.perf_counter()
        tasks = []
        for number in range(int(per_s * duration_s)):
            due = began + number / per_s
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.ensure_future(one(number, due)))
        await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return answers
