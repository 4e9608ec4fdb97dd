"""Clients that ask a service again and again, check every answer, and keep account of what became of each request."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2
import numpy as np

_DEADLINE_S = 60.0
_PAUSE_S = 0.03  # between two requests of a client: the cores are the services' first
_TEXTS = [f"the food was great and table number {number} was ours ." for number in range(12)]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, and what its reply is compared by."""

    path: str
    body: dict[str, Any]
    essence: Callable[[dict[str, Any]], Any]


def _mu(reply: dict[str, Any]) -> Any:
    return [row["mu"] for row in reply["data"]]


def _texts(reply: dict[str, Any]) -> Any:
    return [row["text"] for row in reply["data"]]


def _labels(reply: dict[str, Any]) -> Any:
    return [row["label"] for row in reply["data"]]


REQUESTS = [
    *(Request("/encode", {"texts": [text, "never again ."]}, _mu) for text in _TEXTS),
    Request("/interpolate", {"source": "the food was bad .", "target": "we love it !", "steps": 5}, _texts),
    Request("/analogy", {"a": "bad food !", "b": "great food !", "c": "the staff was rude ."}, _texts),
    Request("/classify", {"text": "how many people live in rome ?", "adapter": "trec"}, _labels),
    Request("/decode", {"samples": 2, "adapter": "yelp-lm", "decoding": {"strategy": "sample", "seed": 3}}, _texts),
]


def connect(url: str, key: str) -> httpx2.Client:
    """A connection for each request: none is sent on one that the server is just about to close."""
    limits = httpx2.Limits(max_keepalive_connections=0)
    return httpx2.Client(base_url=url, headers={"x-api-key": key}, limits=limits, timeout=_DEADLINE_S)


@dataclass(slots=True)
class Account:
    """What became of the requests.

    Attributes:
        answered: With 200 and the right answer.
        refused: Never taken in: no connection, or 503.
        lost: Everything else, each in a line.
    """

    answered: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)


class Load:
    """Runs between enter and exit.

    Args:
        url: Whom to ask.
        key: An API key with every scope.
        num_clients: Requests at once.
        uploads: Whether one client stores and deletes files, which no balancer may repeat.
    """

    def __init__(self, url: str, key: str, *, num_clients: int = 4, uploads: bool = False) -> None:
        self.account = Account()
        self._url, self._key = url, key
        self._expected = self._ask_once()
        self._lock, self._is_over = threading.Lock(), threading.Event()
        work = [self._ask_on] * num_clients + [self._upload_on] * uploads
        self._threads = [threading.Thread(target=each, args=(place,)) for place, each in enumerate(work)]

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
        wanted, deadline_s = self.account.answered + num, time.monotonic() + _DEADLINE_S
        while self.account.answered < wanted:
            assert time.monotonic() < deadline_s, f"requests are not answered any more: {self.account}"
            self._is_over.wait(0.01)

    def _ask_once(self) -> list[Any]:
        with connect(self._url, self._key) as client:
            replies = [client.post(request.path, json=request.body).raise_for_status() for request in REQUESTS]
        return [request.essence(reply.json()) for request, reply in zip(REQUESTS, replies, strict=True)]

    def _ask_on(self, number: int) -> None:
        draw = np.random.default_rng(number)
        with connect(self._url, self._key) as client:
            while not self._is_over.wait(_PAUSE_S):
                place = int(draw.integers(len(REQUESTS)))
                request, expected = REQUESTS[place], self._expected[place]
                self._note(
                    request.path,
                    lambda request=request: client.post(request.path, json=request.body),
                    lambda reply, request=request, expected=expected: is_same(request.essence(reply), expected),
                )

    def _upload_on(self, _number: int) -> None:
        files = {"file": ("a.txt", b"the food was great .\nthe food was bad .\n")}
        with connect(self._url, self._key) as client:
            while not self._is_over.wait(_PAUSE_S):
                stored: list[str] = []
                self._note(
                    "/v1/files",
                    lambda: client.post("/v1/files", files=files, data={"purpose": "fine-tune"}),
                    lambda reply, stored=stored: not stored.append(reply["id"]),
                )
                for name in stored:
                    self._note(
                        "DELETE", lambda name=name: client.delete(f"/v1/files/{name}"), lambda reply: reply["deleted"]
                    )

    def _note(self, what: str, send: Callable[[], httpx2.Response], is_right: Callable[[dict[str, Any]], bool]) -> None:
        account = self.account
        try:
            response = send()
        except httpx2.ConnectError:
            with self._lock:
                account.refused += 1
            self._is_over.wait(0.05)
            return
        except httpx2.TransportError as exc:
            with self._lock:
                account.lost.append(f"{what}: {exc!r}")
            return
        with self._lock:
            if response.status_code == 200 and is_right(response.json()):
                account.answered += 1
            elif response.status_code == 503:
                account.refused += 1
            else:
                account.lost.append(f"{what}: {response.status_code} {response.text[:300]}")


def is_same(answer: Any, expected: Any) -> bool:
    """Texts and labels to the letter, numbers as near as float32 has them."""
    if isinstance(expected[0], str):
        return bool(answer == expected)
    return np.allclose(answer, expected, atol=1e-4, rtol=0)
