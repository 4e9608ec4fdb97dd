"""Which replica gets a request, by what a balancer may know: the set's name, and how many requests each replica has."""

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from tests.bench.fleet.ring import Ring

Load = Sequence[int]  # requests that each replica has, by its number
Choose = Callable[[int, Load], int]  # set and loads to a replica
_DRAWN_TOGETHER = 65_536


def everywhere(replicas: Sequence[int], seed: int) -> Choose:
    """Every set may be anywhere: the less loaded of two replicas drawn at random (Mitzenmacher 2001)."""
    pairs = _pairs(replicas, seed)

    def choose(adapter_set: int, load: Load) -> int:
        del adapter_set
        one, other = next(pairs)
        return one if load[one] <= load[other] else other

    return choose


def one_owner(replicas: Sequence[int], seed: int) -> Choose:
    """A set lives on one replica, however popular it is."""
    del seed
    ring, known = Ring(replicas), dict[int, int]()

    def choose(adapter_set: int, load: Load) -> int:
        del load
        if adapter_set not in known:
            known[adapter_set] = next(ring.owners(adapter_set))
        return known[adapter_set]

    return choose


def two_owners_bounded(replicas: Sequence[int], seed: int, *, slack: float = 0.25, least: int = 4) -> Choose:
    """The less loaded of a set's two owners; where both are above the bound, the next on the ring that is not.

    Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): no replica gets more than
    (1 + slack) times the mean, so that a popular set spreads over as many replicas as it needs.

    Args:
        replicas: Their numbers.
        seed: Unused: nothing is drawn.
        slack: How far above the mean a replica may go.
        least: Requests that a replica may have in any case, since the mean is small where little waits.
    """
    del seed
    ring, known = Ring(replicas), dict[int, list[int]]()
    num = len(replicas)

    def choose(adapter_set: int, load: Load) -> int:
        if adapter_set not in known:
            known[adapter_set] = list(islice(ring.owners(adapter_set), 2))
        owners = known[adapter_set]
        best = min(owners, key=load.__getitem__)
        bound = max(least, (1 + slack) * load[-1] / num)  # the last place holds the sum
        if load[best] < bound:
            return best
        return next((owner for owner in ring.owners(adapter_set) if load[owner] < bound), best)

    return choose


def _pairs(replicas: Sequence[int], seed: int) -> "Pairs":
    return Pairs(replicas, np.random.default_rng(seed))


class Pairs:
    """Two different replicas at a time, at random; the same one twice where there is no other."""

    def __init__(self, replicas: Sequence[int], generator: np.random.Generator) -> None:
        self._replicas, self._generator = replicas, generator
        self._drawn: list[tuple[int, int]] = []

    def __next__(self) -> tuple[int, int]:
        if not self._drawn:
            self._draw()
        return self._drawn.pop()

    def _draw(self) -> None:
        num = len(self._replicas)
        first = self._generator.integers(num, size=_DRAWN_TOGETHER)
        second = (first + self._generator.integers(1, max(2, num), size=_DRAWN_TOGETHER)) % num
        self._drawn = [(self._replicas[one], self._replicas[other]) for one, other in zip(first, second, strict=True)]
