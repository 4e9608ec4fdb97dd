"""A job that crashes is left alone for a while, longer each time: disk or memory may be free by then."""

import time
from collections.abc import Callable

_FIRST_REST_S, _LONGEST_REST_S = 2.0, 60.0


class Resting:
    """Which jobs rest, and for how long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until: dict[str, tuple[int, float]] = {}

    def is_resting(self, job_id: str) -> bool:
        _, until = self._until.get(job_id, (0, 0.0))
        return self._clock() < until

    def note(self, job_id: str, *, has_crashed: bool) -> None:
        """How an attempt at the job ended."""
        count, _ = self._until.pop(job_id, (0, 0.0))
        if has_crashed:
            rest_s = min(_LONGEST_REST_S, _FIRST_REST_S * 2**count)
            self._until[job_id] = (count + 1, self._clock() + rest_s)
