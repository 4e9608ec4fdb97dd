"""How workers hear of new jobs at once. The queue only dispatches: the volume has the truth, and lookouts read it.

Whatever befalls the queue, a job is at worst found a second later.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

Deliver = Callable[[str], Awaitable[None]]
"""Works on the job of that id, if it needs work; never raises."""


class JobQueue(Protocol):
    """From whoever makes jobs to whoever works on them; a job may be delivered never, late, or twice."""

    async def enqueue(self, job_id: str) -> None:
        """Tells workers of a queued job; never raises, never blocks for long."""
        ...

    async def consume(self, deliver: Deliver) -> None:
        """Delivers one job at a time, until cancelled."""
        ...

    async def problem(self) -> str | None:
        """Why it cannot be reached at the moment, in a word; None where it can."""
        ...

    async def close(self) -> None:
        """Lets go of everything; safe at any moment."""
        ...
