"""One fleet under one placement: warm, then at work, then with a tenth of its replicas gone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from tests.bench.fleet.measured import Constants
from tests.bench.fleet.placement import Choose, everywhere, one_owner, two_owners_bounded
from tests.bench.fleet.popularity import zipf
from tests.bench.fleet.ring import Ring
from tests.bench.fleet.simulator import Fleet, Outcome, Traffic

Placement = Callable[[Sequence[int], int], Choose]
PLACEMENTS: dict[str, tuple[Placement, int]] = {  # with the number of a set's owners, 0 where it has none
    "every set everywhere, two choices": (everywhere, 0),
    "sharded, one owner": (one_owner, 1),
    "sharded, two choices, bounded": (two_owners_bounded, 2),
}
_SETTLING = 0.3  # share of the requests that are not counted, because queues begin empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one fleet in one state.

    Attributes:
        in_memory: Share of requests whose set was in memory.
        from_store: Share whose set had to come from the store.
        fetches_per_s: Sets fetched from the store, of the whole fleet.
        wait_p50_ms: From a request's arrival until it is computed.
        wait_p99_ms: The same.
        balance: Requests of the busiest replica over the mean.
    """

    in_memory: float
    from_store: float
    fetches_per_s: float
    wait_p50_ms: float
    wait_p99_ms: float
    balance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is simulated.

    Attributes:
        num_replicas: At the beginning.
        num_sets: Adapter sets.
        exponent: Of their popularity, 1 / rank^exponent.
        utilisation: Requests over what all replicas can answer.
        requests_each: Simulated for each replica, in each of the two states.
        lost_share: Of the replicas, in the second state.
        seed: Of all that is drawn.
    """

    num_replicas: int
    num_sets: int = 100_000
    exponent: float = 1.0
    utilisation: float = 0.7
    requests_each: int = 1000
    lost_share: float = 0.1
    seed: int = 0

    def run(self, placement: str, constants: Constants) -> tuple[Figures, Figures]:
        """Before and after a share of the replicas is gone; as many requests come as before."""
        make, num_owners = PLACEMENTS[placement]
        generator = np.random.default_rng(self.seed)
        replicas = range(self.num_replicas)
        fleet = Fleet(self.num_replicas, constants)
        self._warm(fleet, replicas, num_owners)
        before = self._served(fleet, replicas, make, generator, 0.0)
        survivors = sorted(generator.permutation(self.num_replicas)[round(self.lost_share * self.num_replicas) :])
        fleet.free_at = [0.0] * self.num_replicas
        return before, self._served(fleet, [int(each) for each in survivors], make, generator, 1e6)

    def _warm(self, fleet: Fleet, replicas: Sequence[int], num_owners: int) -> None:
        """Caches as after a long time: each replica's most popular sets, the most popular one used last."""
        ring = Ring(replicas)
        kept = min(self.num_sets, fleet.constants.disk_sets)
        for adapter_set in reversed(range(self.num_sets if num_owners else kept)):
            owners = islice(ring.owners(adapter_set), num_owners) if num_owners else replicas
            for owner in owners:
                fleet.disk[owner].put(adapter_set, 0.0)
                fleet.memory[owner].put(adapter_set, 0.0)

    def _served(
        self, fleet: Fleet, replicas: Sequence[int], make: Placement, generator: np.random.Generator, begin_s: float
    ) -> Figures:
        per_s = self.utilisation * self.num_replicas / fleet.constants.service_s
        probabilities = zipf(self.num_sets, self.exponent)
        traffic = Traffic.poisson(self.requests_each * self.num_replicas, per_s, probabilities, generator)
        traffic = Traffic(arrivals_s=traffic.arrivals_s + begin_s, adapter_sets=traffic.adapter_sets)
        return self._figures(fleet.serve(traffic, make(replicas, self.seed)), traffic, len(replicas))

    def _figures(self, outcome: Outcome, traffic: Traffic, num_replicas: int) -> Figures:
        counted = slice(int(_SETTLING * len(outcome.waits_s)), None)
        span_s = float(np.ptp(traffic.arrivals_s[counted]))
        waits_ms = outcome.waits_s[counted] * 1000
        requests = np.bincount(outcome.replicas[counted])
        return Figures(
            in_memory=float(outcome.is_in_memory[counted].mean()),
            from_store=float(outcome.is_fetched[counted].mean()),
            fetches_per_s=float(outcome.is_fetched[counted].sum()) / span_s,
            wait_p50_ms=float(np.percentile(waits_ms, 50)),
            wait_p99_ms=float(np.percentile(waits_ms, 99)),
            balance=float(requests.max() * num_replicas / requests.sum()),
        )
