"""Requests at replicas, one event after the other: a queue, sets in memory and sets on the disk for each of them.

A replica answers one request after the other, each in the same time. A request whose set is not in memory waits until
it is loaded, from the disk or first from the store, and then joins the queue; others go on meanwhile.
"""

import heapq
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.bench.fleet.measured import Constants
from tests.bench.fleet.placement import Choose

_READY, _DONE = 0, 1


@dataclass(slots=True)
class Latest:
    """Keeps the sets that were used latest (LRU)."""

    num_kept: int
    kept: OrderedDict[int, float] = field(default_factory=OrderedDict)

    def use(self, adapter_set: int) -> float | None:
        """When it came in; None if it is not kept."""
        if adapter_set in self.kept:
            self.kept.move_to_end(adapter_set)
        return self.kept.get(adapter_set)

    def put(self, adapter_set: int, at: float) -> None:
        self.kept[adapter_set] = at
        if len(self.kept) > self.num_kept:
            self.kept.popitem(last=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is asked for.

    Attributes:
        arrivals_s: When each request comes, (N,), ascending.
        adapter_sets: The set that it names, (N,).
    """

    arrivals_s: NDArray[np.float64]
    adapter_sets: NDArray[np.int64]

    @classmethod
    def poisson(
        cls, num: int, per_s: float, probabilities: NDArray[np.float64], generator: np.random.Generator
    ) -> "Traffic":
        """Independent requests, ``per_s`` of them on average, for sets of these probabilities."""
        arrivals = np.cumsum(generator.exponential(1 / per_s, size=num))
        edges = np.cumsum(probabilities)
        sets = np.searchsorted(edges, generator.random(num) * edges[-1], side="right")
        return cls(arrivals_s=arrivals, adapter_sets=sets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of each request, (N,).

    Attributes:
        waits_s: From its arrival until it is computed.
        is_in_memory: Whether its set was in memory, or on its way there.
        is_fetched: Whether its set came from the store.
        replicas: Who answered.
    """

    waits_s: NDArray[np.float64]
    is_in_memory: NDArray[np.bool_]
    is_fetched: NDArray[np.bool_]
    replicas: NDArray[np.int64]


class Fleet:
    """Replicas, with what is in their memory and on their disks."""

    def __init__(self, num_replicas: int, constants: Constants) -> None:
        self.constants = constants
        self.memory = [Latest(constants.bank_slots) for _ in range(num_replicas)]
        self.disk = [Latest(constants.disk_sets) for _ in range(num_replicas)]
        self.free_at = [0.0] * num_replicas
        self.load = [0] * (num_replicas + 1)  # the last place is their sum

    def serve(self, traffic: Traffic, choose: Choose) -> Outcome:
        """Every request to its end.

        Args:
            traffic: Later than all that was served before.
            choose: The placement.
        """
        num = len(traffic.arrivals_s)
        waits, in_memory, fetched = np.zeros(num), np.zeros(num, dtype=bool), np.zeros(num, dtype=bool)
        replicas = np.zeros(num, dtype=np.int64)
        arrivals, sets = traffic.arrivals_s.tolist(), traffic.adapter_sets.tolist()
        events: list[tuple[float, int, int, int]] = []  # when, what, replica, request
        for request, (now, adapter_set) in enumerate(zip(arrivals, sets, strict=True)):
            self._until(now, events, arrivals, waits)
            replica = choose(adapter_set, self.load)
            self.load[replica] += 1
            self.load[-1] += 1
            ready, in_memory[request], fetched[request] = self._ready(replica, adapter_set, now)
            replicas[request] = replica
            heapq.heappush(events, (ready, _READY, replica, request))
        self._until(float("inf"), events, arrivals, waits)
        return Outcome(waits_s=waits, is_in_memory=in_memory, is_fetched=fetched, replicas=replicas)

    def _until(
        self,
        now: float,
        events: list[tuple[float, int, int, int]],
        arrivals: Sequence[float],
        waits: NDArray[np.float64],
    ) -> None:
        while events and events[0][0] <= now:
            at, kind, replica, request = heapq.heappop(events)
            if kind == _DONE:
                self.load[replica] -= 1
                self.load[-1] -= 1
                continue
            start = max(at, self.free_at[replica])
            waits[request] = start - arrivals[request]
            self.free_at[replica] = start + self.constants.service_s
            heapq.heappush(events, (self.free_at[replica], _DONE, replica, request))

    def _ready(self, replica: int, adapter_set: int, now: float) -> tuple[float, bool, bool]:
        """When the set is in the replica's memory, whether it was there, and whether the store was asked."""
        memory, disk = self.memory[replica], self.disk[replica]
        came = memory.use(adapter_set)
        if came is not None:
            disk.use(adapter_set)
            return max(now, came), True, False
        on_disk = disk.use(adapter_set)
        if on_disk is None:
            disk.put(adapter_set, now + self.constants.fetch_s)
            on_disk = now + self.constants.fetch_s
            is_fetched = True
        else:
            is_fetched = False
        ready = max(now, on_disk) + self.constants.cold_s
        memory.put(adapter_set, ready)
        return ready, False, is_fetched
