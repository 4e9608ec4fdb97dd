"""On whose behalf something is done, and since when: of the request that this task answers.

Context variables and no arguments, because everything between the door and the queue of rows would only hand it on.
"""

from contextvars import ContextVar

NOBODY = ""
CALLER: ContextVar[str] = ContextVar("adavae_caller", default=NOBODY)
"""The key, else the address."""

SINCE: ContextVar[float | None] = ContextVar("adavae_since", default=None)
"""When the request came in, as ``time.monotonic``; None where nobody said."""
