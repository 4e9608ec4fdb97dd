"""Identical work in flight is done once: whoever asks first computes, whoever asks meanwhile waits for that.

Of one client only, and only for a computation that is no larger than one's own request: a flight lands with all that
was computed with it, in its client's turn. So nobody waits for a greedy client, or for a large request beside a small
one; what two computed at once is computed twice.

Knows nothing of what encodings hold, or of caches; two pieces of work are identical where their keys are.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from adavae.service.results import Encoding

Compute = Callable[[list[str]], Awaitable[list[Encoding]]]
_Landing = asyncio.Future[Encoding | None]


@dataclass(frozen=True, slots=True)
class _Flight:
    """One key of a computation, and how much work all of that is."""

    landing: _Landing
    size: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request gives: whose it is, how much work each of its keys is, and what computes some of them."""

    client: str
    sizes: Mapping[str, int]
    compute: Compute

    @property
    def size(self) -> int:
        return sum(self.sizes.values())


class SingleFlight:
    """The flights of one event loop.

    A flight never carries its leader's error. It ends with the encoding, with None where the computation failed, or
    cancelled where the leader went away; what that means is for each follower to decide.
    """

    def __init__(self) -> None:
        self._flights: dict[tuple[str, str], _Flight] = {}  # by client and key, the smallest computation there is

    def __len__(self) -> int:
        """Keys in flight that somebody may join."""
        return len(self._flights)

    async def gather(
        self, keys: Sequence[str], compute: Compute, *, client: str = "", sizes: Mapping[str, int] | None = None
    ) -> list[Encoding]:
        """The encodings of ``keys``, in their order.

        Calls ``compute`` once for all keys that it joins no flight for, each named once, and waits for the others. A
        key whose leader was cancelled is taken over by the first of those who waited. A key whose leader failed is
        computed by each who waited on their own account: the error may have been the leader's alone (its deadline,
        its other texts), and they need an answer within a deadline of their own.

        Args:
            keys: May hold a key several times.
            compute: Gives one encoding a key, in order.
            client: Whose request it is.
            sizes: How much work each key is, in any unit; each as much as the others if left out.

        Raises:
            Exception: Whatever the caller's own ``compute`` raised.
        """
        asked = _Asked(client, dict.fromkeys(keys, 1) if sizes is None else sizes, compute)
        found: dict[str, Encoding] = {}
        missing = list(dict.fromkeys(keys))
        while missing:
            joined = self._joined(missing, asked)
            found |= await self._lead([key for key in missing if key not in joined], asked)
            landed, failed, missing = await _follow(joined)
            found |= landed
            found |= await self._lead(failed, asked)
        return [found[key] for key in keys]

    def _joined(self, keys: Sequence[str], asked: _Asked) -> dict[str, _Landing]:
        """What of a request is in flight already, in computations that are no larger than it."""
        flights = {key: self._flights.get((asked.client, key)) for key in keys}
        most = asked.size
        return {key: flight.landing for key, flight in flights.items() if flight is not None and flight.size <= most}

    async def _lead(self, keys: list[str], asked: _Asked) -> dict[str, Encoding]:
        if not keys:
            return {}
        loop = asyncio.get_running_loop()
        size = sum(asked.sizes[key] for key in keys)
        flights = {(asked.client, key): _Flight(loop.create_future(), size) for key in keys}
        self._register(flights)
        computed: dict[str, Encoding] = {}
        try:
            computed = dict(zip(keys, await asked.compute(list(keys)), strict=True))
        except asyncio.CancelledError:
            for flight in flights.values():
                flight.landing.cancel()
            raise
        finally:
            self._land(flights, computed)
        return computed

    def _register(self, flights: dict[tuple[str, str], _Flight]) -> None:
        """Makes the flights joinable, except where one is in flight that others join as well (they retry a key)."""
        for name, flight in flights.items():
            other = self._flights.get(name)
            if other is None or flight.size < other.size:
                self._flights[name] = flight

    def _land(self, flights: dict[tuple[str, str], _Flight], computed: dict[str, Encoding]) -> None:
        for name, flight in flights.items():
            if self._flights.get(name) is flight:
                del self._flights[name]
            if not flight.landing.cancelled():
                flight.landing.set_result(computed.get(name[1]))


async def _follow(joined: dict[str, _Landing]) -> tuple[dict[str, Encoding], list[str], list[str]]:
    """Waits for flights of others: what they found, the keys that failed, the keys that were abandoned.

    ``asyncio.wait`` leaves the flights alone when the one who waits is cancelled; awaiting them would cancel them.
    """
    await _all_done(joined.values())
    abandoned = [key for key, landing in joined.items() if landing.cancelled()]
    results = {key: landing.result() for key, landing in joined.items() if not landing.cancelled()}
    landed = {key: encoding for key, encoding in results.items() if encoding is not None}
    failed = [key for key, encoding in results.items() if encoding is None]
    return landed, failed, abandoned


async def _all_done(landings: Iterable[_Landing]) -> None:
    pending = [landing for landing in landings if not landing.done()]
    if pending:
        await asyncio.wait(pending)
