"""Clients of a cluster that ask again and again, send again what failed, and keep account of both."""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

import httpx2

_TIMEOUT_S, _RETRY_S, _PATIENCE_S = 30.0, 0.1, 60.0
_STREAMED = {"samples": 32, "decoding": {"strategy": "sample", "seed": 7}, "stream": True}
_DONE = "data: [DONE]"


@dataclass(slots=True)
class Account:
    """What became of the requests.

    Attributes:
        answered: Requests that were answered with 200, at the first try or later; streams to their end.
        streamed: Of these, the streams.
        failed: Every try that was not, as (seconds since the load began, what came instead).
        lost: Requests that were not answered with 200 however often they were sent.
    """

    answered: int = 0
    streamed: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class ClusterLoad:
    """Runs between enter and exit; each client encodes texts that nobody else sends, in a connection of its own.

    Clients that stream have new texts decoded, one after another: a replica that goes may have one in hand.
    """

    def __init__(
        self,
        url: str,
        *,
        num_clients: int = 4,
        num_streams: int = 0,
        pause_s: float = 0.01,
        headers: dict[str, str] | None = None,
    ) -> None:
        """``num_streams`` clients more stream; each waits ``pause_s`` before it asks again."""
        self.account = Account()
        self._url, self._headers, self._began_s = url, headers or {}, time.monotonic()
        self._pause_s = pause_s
        self._lock, self._is_over = threading.Lock(), threading.Event()
        encoding = [threading.Thread(target=self._encode_on, args=(number,)) for number in range(num_clients)]
        self._threads = [*encoding, *(threading.Thread(target=self._stream_on) for _ in range(num_streams))]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def more(self, num: int) -> None:
        """Until so many more were answered."""
        wanted, deadline_s = self.account.answered + num, time.monotonic() + _PATIENCE_S
        while self.account.answered < wanted:
            assert time.monotonic() < deadline_s, f"requests are not answered any more: {self.account}"
            self._is_over.wait(0.01)

    def _encode_on(self, client: int) -> None:
        with self._connection() as http:
            for number in itertools.count():
                if self._is_over.wait(self._pause_s):
                    return
                text = f"the food was great at table {client} {number} ."
                self._ask(lambda text=text: _encoded(http, text))

    def _stream_on(self) -> None:
        with self._connection() as http:
            while not self._is_over.wait(self._pause_s):
                if self._ask(lambda: _streamed(http)):
                    with self._lock:
                        self.account.streamed += 1

    def _connection(self) -> httpx2.Client:
        return httpx2.Client(base_url=self._url, headers=self._headers, timeout=_TIMEOUT_S)

    def _ask(self, ask: Callable[[], str | None]) -> bool:
        """Until it is answered, or has not been for too long; what ``ask`` gives is a problem, or None."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while (problem := _problem(ask)) is not None:
            with self._lock:
                self.account.failed.append((round(time.monotonic() - self._began_s, 2), problem))
            if time.monotonic() > deadline_s:
                with self._lock:
                    self.account.lost.append(problem)
                return False
            self._is_over.wait(_RETRY_S)
        with self._lock:
            self.account.answered += 1
        return True


def _problem(ask: Callable[[], str | None]) -> str | None:
    try:
        return ask()
    except httpx2.HTTPError as exc:
        return type(exc).__name__


def _encoded(http: httpx2.Client, text: str) -> str | None:
    reply = http.post("/encode", json={"text": text})
    return None if reply.status_code == 200 else f"{reply.status_code} {reply.text[:200]}"


def _streamed(http: httpx2.Client) -> str | None:
    with http.stream("POST", "/decode", json=_STREAMED) as reply:
        if reply.status_code != 200:
            return f"{reply.status_code} {reply.read()[:200]!r}"
        lines = [line for line in reply.iter_lines() if line]
    return None if lines and lines[-1] == _DONE else f"a stream that ends with {lines[-1:]}"
