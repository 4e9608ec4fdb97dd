"""Threads that keep no process from ending: what hangs in one of them, in a disk that does not answer, ends with it.

Those of ``ThreadPoolExecutor`` are waited for when the interpreter ends, however long that takes.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

_IDLE_S = 10.0  # after which a thread without work ends

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class DaemonThreads(ThreadPoolExecutor):
    """An executor; nothing of its base is used but the name, without which asyncio takes none as its default."""

    def __init__(self, num: int, name: str, *, patience_s: float = 0.0) -> None:
        """``num`` threads at most; ``shutdown`` waits ``patience_s`` for what they have begun or been given."""
        self._num, self._name, self._patience_s = num, name, patience_s
        self._wake = threading.Condition()
        self._work: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._unfinished: set[Future[Any]] = set()
        self._num_threads = self._num_idle = self._num_started = 0

    def submit(
        self, fn: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        """The result of ``fn``, which runs as soon as a thread is free."""
        future: Future[Result] = Future()
        with self._wake:
            self._unfinished.add(future)
            self._work.append((future, lambda: fn(*args, **kwargs)))
            if len(self._work) <= self._num_idle:
                self._wake.notify()
            elif self._num_threads < self._num:
                self._start()
        future.add_done_callback(self._unfinished.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits no longer than it was told to; what hangs is left to itself."""
        with self._wake:
            unfinished = list(self._unfinished)
        if cancel_futures:
            for future in unfinished:
                future.cancel()
        if wait:
            futures.wait(unfinished, self._patience_s)

    def _start(self) -> None:
        self._num_threads += 1
        self._num_started += 1
        threading.Thread(target=self._run, name=f"{self._name}_{self._num_started}", daemon=True).start()

    def _run(self) -> None:
        while (work := self._next()) is not None:
            future, run = work
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(run())
                except BaseException as exc:
                    future.set_exception(exc)
            del work, future, run  # or the last one's result would live as long as the thread

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """None where nothing has come for a while, and the thread is to end."""
        with self._wake:
            self._num_idle += 1
            self._wake.wait_for(lambda: self._work, _IDLE_S)
            self._num_idle -= 1
            if self._work:
                return self._work.popleft()
            self._num_threads -= 1
            return None
