"""Whether requests that name no adapter set are answered: tried by a real one, now and then, for whoever asks.

A process can be alive, and its engine at work, while every request fails. A verdict is kept for a few seconds, so that
asking costs nothing; while a trial is under way, the verdict before it stands.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

from adavae.model.errors import AdaVAEError
from adavae.service.errors import DeadlineExceeded, EngineStopped, service_error

FRESH_S = 5.0
PATIENCE_S = 0.5  # less than those who ask wait: load balancers wait for a second


class DefaultTrial:
    """The last verdict, and how it is renewed; used from one event loop."""

    def __init__(
        self, attempt: Callable[[], Awaitable[object]], *, fresh_s: float = FRESH_S, patience_s: float = PATIENCE_S
    ) -> None:
        """``attempt`` is the request that must be answered."""
        self._attempt, self._fresh_s, self._patience_s = attempt, fresh_s, patience_s
        self._problem: str | None = "the default adapter set is being tried"
        self._tried_at: float | None = None
        self._trial: asyncio.Task[None] | None = None

    async def problem(self) -> str | None:
        """What went wrong at the last trial, which is repeated where that was some time ago; None where nothing did."""
        is_fresh = self._tried_at is not None and monotonic() - self._tried_at < self._fresh_s
        if not is_fresh and (self._trial is None or self._trial.done()):
            self._trial = asyncio.create_task(self._try(), name="readiness: try the default adapter set")
        if self._trial is not None and not self._trial.done():
            await asyncio.wait({self._trial}, timeout=self._patience_s)
        return self._problem

    async def stop(self) -> None:
        """Gives up a trial that is under way."""
        if self._trial is not None and not self._trial.done():
            self._trial.cancel()
            await asyncio.wait({self._trial})

    async def _try(self) -> None:
        try:
            await self._attempt()
            self._problem = None
        except Exception as exc:  # anything that a request would be answered with 500 for
            self._problem = self._verdict(exc)
        self._tried_at = monotonic()

    def _verdict(self, error: Exception) -> str | None:
        """A fault of the server counts; that it is busy, or has no default set, is no reason to send it no requests."""
        if isinstance(error, DeadlineExceeded | EngineStopped):
            return self._problem  # the engine knows by itself whether it still works
        if isinstance(error, AdaVAEError) and service_error(error).status < 500:
            return None
        return f"requests that name no adapter set fail ({error})"
