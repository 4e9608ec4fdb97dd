"""Encodings to a map, in a thread of its own and one map at a time: a large one takes one core and never the engine."""

import asyncio
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adavae.model.latent.map_points import MapMethod, MapPoints, map_points
from adavae.service.engine.compute_threads import alone
from adavae.service.errors import DeadlineExceeded


class Cartographer:
    """Draws maps; used from one event loop."""

    def __init__(self, deadline_s: float) -> None:
        """A map that is not ready after ``deadline_s``, waiting included, is given up."""
        self._deadline_s, self._drawing = deadline_s, asyncio.Semaphore(1)

    async def draw(self, mu: NDArray[np.float32], labels: Sequence[str] | None, method: MapMethod) -> MapPoints:
        """Points of mu, (N, Z).

        Raises:
            ConfigError: Fewer than three rows.
            DeadlineExceeded: Others' maps, or this one, took too long.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._drawing.acquire()
                drawing = asyncio.ensure_future(asyncio.to_thread(alone(map_points), mu, labels, method))
                drawing.add_done_callback(self._free)  # a thread goes on to its end, whoever has stopped waiting
                return await asyncio.shield(drawing)
        except TimeoutError as exc:
            raise DeadlineExceeded(self._deadline_s) from exc

    def _free(self, drawing: "asyncio.Future[MapPoints]") -> None:
        self._drawing.release()
        if not drawing.cancelled():
            drawing.exception()  # else one that nobody waits for any more would be logged as lost
