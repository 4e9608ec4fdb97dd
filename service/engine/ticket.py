"""One request's rows on their way through the engine: results gather here until the last one is in."""

import asyncio
from time import time_ns
from typing import Generic, TypeVar

Result = TypeVar("Result")

_PATIENCE_S, _MOST_TOKENS = 0.015, 512  # a token; of more than these, a request waits no longer for shorter ones


def due_at(came: float, num_tokens: float) -> float:
    """Until when shorter requests may go before one that came at ``came`` and has so many tokens to do."""
    return came + _PATIENCE_S * min(num_tokens, _MOST_TOKENS)


class Ticket(Generic[Result]):
    """One future for all rows of a request.

    The event loop resolves it; the device thread reads ``is_abandoned`` and says when it began.

    Attributes:
        client: Whose request it is.
        due: Until when shorter requests of its client may go first, as ``time.monotonic``.
        is_long: It is more work than what is done at once (``scheduler``).
        is_abandoned: Nobody waits any more: rows not computed yet can be left out.
        began_ns: When the device took up its first row, as ``time.time_ns``; 0 before.
    """

    def __init__(self, num_rows: int, *, client: str = "", due: float = 0.0, is_long: bool = False) -> None:
        self.client, self.due, self.is_long = client, due, is_long
        self.future: asyncio.Future[list[Result]] = asyncio.get_running_loop().create_future()
        self.is_abandoned = False
        self.began_ns = 0
        self._num_begun = 0
        self._results: list[Result | None] = [None] * num_rows
        self._num_missing = num_rows

    def begin(self) -> None:
        """On the device thread: a row is taken up."""
        self.began_ns = self.began_ns or time_ns()
        self._num_begun += 1

    @property
    def num_waiting(self) -> int:
        """Rows that are not taken up yet; none of a ticket that nobody waits for, whose rows are on their way out."""
        return 0 if self.is_abandoned else len(self._results) - self._num_begun

    def put(self, row: int, result: Result | Exception) -> None:
        """One row's result; its failure is the whole request's."""
        if self.future.done():
            return
        if isinstance(result, Exception):
            self.fail(result)
            return
        self._results[row] = result
        self._num_missing -= 1
        if self._num_missing == 0:
            self.future.set_result(self._results)  # type: ignore[arg-type]  # none is missing

    def fail(self, error: Exception) -> None:
        """Gives every row up."""
        self.is_abandoned = True
        if not self.future.done():
            self.future.set_exception(error)
            self.future.exception()  # a caller that has gone away already is no error
