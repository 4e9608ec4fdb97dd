"""Where uploads are checked: threads of their own, so that a file that is slow to check keeps nobody else waiting.

Each key has one turn at a time, and few of its uploads may wait. A check is asked between its pieces whether its time
is up.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from time import monotonic
from typing import TypeVar

from adavae.model.errors import DatasetError
from adavae.service.daemon_threads import DaemonThreads
from adavae.service.errors import Overloaded

NUM_THREADS = 2
"""A check takes several times the memory of its file."""

MAX_WAITING = 32
"""Uploads that wait for their check; what comes beyond is refused."""

MAX_WAITING_PER_KEY = 4
"""Of them, those of one key, the one that is being checked counted."""

Result = TypeVar("Result")


class CheckTime:
    """How long one check may take, from its first question on."""

    def __init__(self, limit_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._limit_s, self._clock = limit_s, clock
        self._began: float | None = None
        self._is_given_up = False

    def ask(self, name: object) -> None:
        """Between the pieces of a check of ``name``; raises DatasetError where it is to end."""
        if self._began is None:
            self._began = self._clock()
        if self._is_given_up or self._clock() - self._began > self._limit_s:
            raise DatasetError(
                f"{name}: could not be checked within {self._limit_s:g} s (ADAVAE_CHECK_TIMEOUT_S): split it into "
                "smaller files, or shorten its lines"
            )

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self._is_given_up = True


class CheckPool:
    """Used from one event loop."""

    def __init__(self) -> None:
        self._threads = DaemonThreads(NUM_THREADS, "adavae-check")
        self._turns: dict[str, asyncio.Lock] = {}
        self._num_waiting, self._num_waiting_of = 0, Counter[str]()

    async def run(self, owner: str | None, check_time: CheckTime, check: Callable[[], Result]) -> Result:
        """What ``check`` gives; never returns while it is still running.

        Raises:
            Overloaded: Too many wait, of this owner or of all.
        """
        if owner is not None and (num_own := self._num_waiting_of[owner]) >= MAX_WAITING_PER_KEY:
            limit = MAX_WAITING_PER_KEY
            message = (
                f"your key has {num_own} uploads that wait to be checked, the limit is {limit}: send it again later"
            )
            raise Overloaded(message, retry_after_s=10)
        if self._num_waiting >= MAX_WAITING:
            message = f"{self._num_waiting} uploads wait to be checked, the limit is {MAX_WAITING}: send it again later"
            raise Overloaded(message, retry_after_s=10)
        with self._counted(owner):
            async with AsyncExitStack() as turn:
                if owner is not None:
                    await turn.enter_async_context(self._turns.setdefault(owner, asyncio.Lock()))
                return await self._run_to_its_end(check_time, check)

    @contextmanager
    def _counted(self, owner: str | None) -> Iterator[None]:
        self._num_waiting += 1
        if owner is not None:
            self._num_waiting_of[owner] += 1
        try:
            yield
        finally:
            self._num_waiting -= 1
            if owner is not None:
                self._num_waiting_of -= Counter((owner,))

    async def _run_to_its_end(self, check_time: CheckTime, check: Callable[[], Result]) -> Result:
        future = self._threads.submit(check)
        checking = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(checking)
        except asyncio.CancelledError:
            check_time.give_up()
            if not future.cancel():  # it runs: what it reads must not be removed under it
                await asyncio.wait((checking,))
                checking.exception()
            raise
