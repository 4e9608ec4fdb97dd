"""Identical work in flight is done once: whoever asks first computes, whoever asks meanwhile waits for that.

Knows nothing of what encodings hold, or of caches; two pieces of work are identical where their keys are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from adavae.service.results import Encoding

Compute = Callable[[list[str]], Awaitable[list[Encoding]]]
_Flight = asyncio.Future[Encoding | None]


class SingleFlight:
    """The flights of one event loop.

    A flight never carries its leader's error. It ends with the encoding, with None where the computation failed, or
    cancelled where the leader went away; what that means is for each follower to decide.
    """

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    def __len__(self) -> int:
        """Keys in flight."""
        return len(self._flights)

    async def gather(self, keys: Sequence[str], compute: Compute) -> list[Encoding]:
        """The encodings of ``keys``, in their order.

        Calls ``compute`` once for all keys that nobody computes yet, each named once, and waits for the others. A key
        whose leader was cancelled is taken over by the first of those who waited. A key whose leader failed is
        computed by each who waited on their own account: the error may have been the leader's alone (its deadline,
        its other texts), and they need an answer within a deadline of their own.

        Args:
            keys: May hold a key several times.
            compute: Gives one encoding a key, in order.

        Raises:
            Exception: Whatever the caller's own ``compute`` raised.
        """
        found: dict[str, Encoding] = {}
        missing = list(dict.fromkeys(keys))
        while missing:
            joined = {key: self._flights[key] for key in missing if key in self._flights}
            found |= await self._lead([key for key in missing if key not in joined], compute)
            landed, failed, missing = await _follow(joined)
            found |= landed
            found |= await self._lead(failed, compute)
        return [found[key] for key in keys]

    async def _lead(self, keys: list[str], compute: Compute) -> dict[str, Encoding]:
        if not keys:
            return {}
        loop = asyncio.get_running_loop()
        flights: dict[str, _Flight] = {key: loop.create_future() for key in keys}
        self._register(flights)
        computed: dict[str, Encoding] = {}
        try:
            computed = dict(zip(keys, await compute(list(keys)), strict=True))
        except asyncio.CancelledError:
            for flight in flights.values():
                flight.cancel()
            raise
        finally:
            self._land(flights, computed)
        return computed

    def _register(self, flights: dict[str, _Flight]) -> None:
        """Makes the flights joinable, except where one is in flight already (others retry the same key)."""
        for key, flight in flights.items():
            self._flights.setdefault(key, flight)

    def _land(self, flights: dict[str, _Flight], computed: dict[str, Encoding]) -> None:
        for key, flight in flights.items():
            if self._flights.get(key) is flight:
                del self._flights[key]
            if not flight.cancelled():
                flight.set_result(computed.get(key))


async def _follow(joined: dict[str, _Flight]) -> tuple[dict[str, Encoding], list[str], list[str]]:
    """Waits for flights of others: what they found, the keys that failed, the keys that were abandoned.

    ``asyncio.wait`` leaves the flights alone when the one who waits is cancelled; awaiting them would cancel them.
    """
    await _all_done(joined.values())
    abandoned = [key for key, flight in joined.items() if flight.cancelled()]
    results = {key: flight.result() for key, flight in joined.items() if not flight.cancelled()}
    landed = {key: encoding for key, encoding in results.items() if encoding is not None}
    failed = [key for key, encoding in results.items() if encoding is None]
    return landed, failed, abandoned


async def _all_done(flights: Iterable[_Flight]) -> None:
    pending = [flight for flight in flights if not flight.done()]
    if pending:
        await asyncio.wait(pending)
