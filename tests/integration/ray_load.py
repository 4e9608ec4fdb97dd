"""Clients of a cluster that ask without a pause, send again what failed, and keep account of both."""

import threading
import time
from dataclasses import dataclass, field
from typing import Self

import httpx2

_TIMEOUT_S, _RETRY_S, _PAUSE_S, _PATIENCE_S = 30.0, 0.1, 0.01, 60.0


@dataclass(slots=True)
class Account:
    """What became of the requests.

    Attributes:
        answered: Requests that were answered with 200, at the first try or later.
        failed: Every try that was not, as (seconds since the load began, what came instead).
        lost: Requests that were not answered with 200 however often they were sent.
    """

    answered: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


class ClusterLoad:
    """Runs between enter and exit; each client encodes texts that nobody else sends, in a connection of its own."""

    def __init__(self, url: str, *, num_clients: int = 4, headers: dict[str, str] | None = None) -> None:
        self.account = Account()
        self._url, self._headers, self._began_s = url, headers or {}, time.monotonic()
        self._lock, self._is_over = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=(number,)) for number in range(num_clients)]

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

    def _ask_on(self, client: int) -> None:
        with httpx2.Client(base_url=self._url, headers=self._headers, timeout=_TIMEOUT_S) as http:
            for number in range(1_000_000):
                if self._is_over.wait(_PAUSE_S):
                    return
                self._ask(http, f"the food was great at table {client} {number} .")

    def _ask(self, http: httpx2.Client, text: str) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while (problem := _problem(http, text)) is not None:
            with self._lock:
                self.account.failed.append((round(time.monotonic() - self._began_s, 2), problem))
            if time.monotonic() > deadline_s:
                with self._lock:
                    self.account.lost.append(problem)
                return
            self._is_over.wait(_RETRY_S)
        with self._lock:
            self.account.answered += 1


def _problem(http: httpx2.Client, text: str) -> str | None:
    try:
        reply = http.post("/encode", json={"text": text})
    except httpx2.HTTPError as exc:
        return type(exc).__name__
    return None if reply.status_code == 200 else f"{reply.status_code} {reply.text[:200]}"
