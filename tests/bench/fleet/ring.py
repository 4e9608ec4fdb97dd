"""Where a set lives: replicas on a ring by hash, at many points each; one that goes moves its own sets alone."""

import bisect
import hashlib
from collections.abc import Iterator, Sequence

_POINTS = 64  # of each replica on the ring


class Ring:
    """Consistent hashing (Karger et al. 1997)."""

    def __init__(self, replicas: Sequence[int], *, num_points: int = _POINTS) -> None:
        points = sorted((_hash(f"replica {name}/{point}"), name) for name in replicas for point in range(num_points))
        self._places = [place for place, _ in points]
        self._owners = [owner for _, owner in points]
        self.num_replicas = len(replicas)

    def owners(self, adapter_set: int) -> Iterator[int]:
        """Every replica once, beginning with the first after the set's own place."""
        start = bisect.bisect(self._places, _hash(f"set {adapter_set}"))
        seen: set[int] = set()
        for step in range(len(self._owners)):
            owner = self._owners[(start + step) % len(self._owners)]
            if owner not in seen:
                seen.add(owner)
                yield owner
                if len(seen) == self.num_replicas:
                    return


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
