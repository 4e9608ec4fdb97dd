"""A small client that does nothing wrong: one sentence at a time, all the time, each a new one."""

import threading
import time
from dataclasses import dataclass

import httpx2

from tests.bench.abuse.verdict import complaint
from tests.bench.side_by_side import percentile

_PAUSE_S = 0.02
_NUM_RETRIES = 3
_RETRY_PAUSE_S = 0.2
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: how long it took, retries included, and what was wrong with the last answer."""

    seconds: float
    num_retries: int
    problem: str | None


class Bystander:
    """Asks in a thread of its own from ``start`` to ``stop``."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"authorization": f"Bearer {key}"}
        self._client = httpx2.Client(base_url=url, headers=headers, timeout=_LONGEST_S)
        self._number, self._is_over = 0, threading.Event()
        self._thread: threading.Thread | None = None
        self.answered: list[Answered] = []

    def start(self) -> None:
        self._is_over.clear()
        self._thread = threading.Thread(target=self._go_on, name="bystander", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join(2 * _LONGEST_S)

    def wait_for_an_answer(self, num_before: int) -> None:
        """Until it has had more answers than ``num_before``; at once where it does not ask."""
        end_s = time.monotonic() + _LONGEST_S
        while self.is_asking and len(self.answered) <= num_before and time.monotonic() < end_s:
            time.sleep(_PAUSE_S / 4)

    @property
    def is_asking(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and not self._is_over.is_set()

    def close(self) -> None:
        self.stop()
        self._client.close()

    def quiet(self, num: int) -> list[float]:
        """Seconds of so many requests, one after the other, while nobody else asks for anything."""
        seconds = []
        for _ in range(num):
            seconds.append(self.ask().seconds)
            time.sleep(_PAUSE_S)
        return seconds

    def ask(self) -> Answered:
        """One request; where the connection is cut or it is asked to come again, it does."""
        self._number += 1
        body = {"text": f"the waiter brought plate {self._number}"}
        began, problem = time.perf_counter(), None
        for num_retries in range(1 + _NUM_RETRIES):  # noqa: B007
            try:
                reply = self._client.post("/encode", json=body)
            except httpx2.TransportError as exc:
                problem = repr(exc)
            else:
                problem = complaint(reply) or (None if reply.status_code == 200 else f"{reply.text[:200]}")
            if problem is None:
                break
            time.sleep(_RETRY_PAUSE_S)
        return Answered(time.perf_counter() - began, num_retries, problem)

    def _go_on(self) -> None:
        while not self._is_over.wait(_PAUSE_S):
            self.answered.append(self.ask())


def p99_ms(seconds: list[float]) -> float | None:
    """None of nothing."""
    return round(1000 * percentile(seconds, 0.99), 1) if seconds else None
