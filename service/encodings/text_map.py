"""Encodings to maps, in threads of their own: a large one takes one core and never the engine.

Each method has a lane, in which one map is drawn at a time: one by PCA takes a moment, and does not wait for one by
t-SNE, which may take many seconds. Clients take turns in a lane, and of each client few maps are on their way.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self, get_args

import numpy as np
from numpy.typing import NDArray

from adavae.model.latent.map_points import MapMethod, MapPoints, map_points
from adavae.service.caller import CALLER
from adavae.service.engine.compute_threads import alone
from adavae.service.engine.fair_queue import FairQueue
from adavae.service.errors import DeadlineExceeded, Overloaded

MAX_MAPS_OF_A_CLIENT = 2
"""On their way by one method: one that is being drawn, and one that waits."""


class Cartographer:
    """Draws maps; used from one event loop."""

    def __init__(self, deadline_s: float) -> None:
        """A map that is not ready after ``deadline_s``, waiting included, is given up."""
        self._lanes = {method: _Lane(method, deadline_s) for method in get_args(MapMethod)}

    @contextmanager
    def place(self, method: MapMethod, num_texts: int) -> Iterator["Place"]:
        """Room for a map of the caller's, to be taken before its texts are encoded.

        Raises:
            Overloaded: As many maps of the same caller are on their way as may be.
        """
        with self._lanes[method].place(num_texts) as place:
            yield place


class Place:
    """One map on its way: a row of the queue, and the request that the row is of."""

    def __init__(self, lane: "_Lane", client: str, num_texts: int) -> None:
        self._lane, self.client, self.num_texts = lane, client, num_texts
        self.turn = asyncio.get_running_loop().create_future()
        self.drawing: asyncio.Future[MapPoints] | None = None
        self.due = 0.0  # at once: of a client's maps the first that came is drawn first

    @property
    def ticket(self) -> Self:
        return self

    async def draw(self, mu: NDArray[np.float32], labels: Sequence[str] | None) -> MapPoints:
        """Points of mu, (N, Z).

        Raises:
            ConfigError: Fewer than three rows.
            DeadlineExceeded: Others' maps, or this one, took too long.
        """
        return await self._lane.draw(self, mu, labels)


class _Lane:
    """The maps by one method."""

    def __init__(self, method: MapMethod, deadline_s: float) -> None:
        self._method, self._deadline_s = method, deadline_s
        self._waiting: FairQueue[Place] = FairQueue(lambda place: place.num_texts)
        self._num_of_client = Counter[str]()
        self._is_busy, self._last_client = False, ""

    @contextmanager
    def place(self, num_texts: int) -> Iterator[Place]:
        client = CALLER.get()
        if (num_own := self._num_of_client[client]) >= MAX_MAPS_OF_A_CLIENT:
            raise Overloaded(
                f"{num_own} maps of yours by {self._method} are on their way, the limit is {MAX_MAPS_OF_A_CLIENT}: "
                "wait for one of them, or send fewer texts",
                retry_after_s=5,
            )
        self._num_of_client[client] += 1
        place = Place(self, client, num_texts)
        try:
            yield place
        finally:
            place.turn.cancel()
            self._waiting.forget(place)
            if place.drawing is None or place.drawing.done():
                self._leave(client)
            else:  # a thread goes on to its end, whoever has stopped waiting
                place.drawing.add_done_callback(lambda _: self._leave(client))

    def _leave(self, client: str) -> None:
        self._num_of_client -= Counter((client,))

    async def draw(self, place: Place, mu: NDArray[np.float32], labels: Sequence[str] | None) -> MapPoints:
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._turn_of(place)
                place.drawing = asyncio.ensure_future(asyncio.to_thread(alone(map_points), mu, labels, self._method))
                place.drawing.add_done_callback(self._end)
                return await asyncio.shield(place.drawing)
        except TimeoutError as exc:
            raise DeadlineExceeded(self._deadline_s) from exc

    async def _turn_of(self, place: Place) -> None:
        self._waiting.put(place)
        if not self._is_busy:
            self._call_next()
        try:
            await place.turn
        except asyncio.CancelledError:
            if not place.turn.cancelled():  # its turn came at that very moment
                self._call_next()
            raise

    def _call_next(self) -> None:
        """Whose map was drawn last lets any other client go first."""
        self._is_busy = False
        while (place := self._waiting.take(self._is_another) or self._waiting.take()) is not None:
            if not place.turn.done():
                self._is_busy, self._last_client = True, place.client
                place.turn.set_result(None)
                return

    def _is_another(self, client: str) -> bool:
        return client != self._last_client

    def _end(self, drawing: "asyncio.Future[MapPoints]") -> None:
        self._call_next()
        if not drawing.cancelled():
            drawing.exception()  # else one that nobody waits for any more would be logged as lost
