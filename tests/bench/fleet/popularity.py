"""How often each set is asked for, and what share of requests a cache of the latest sets can answer."""

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float64]


def zipf(num_sets: int, exponent: float) -> Probabilities:
    """p_i proportional to 1 / i^exponent, (N,), the most popular first."""
    weights = 1.0 / np.arange(1, num_sets + 1) ** exponent
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def lru_hit_rate(probabilities: Probabilities, num_kept: int) -> float:
    """Che's approximation (2002): hits are sum p_i (1 - exp(-p_i T)), where sum (1 - exp(-p_i T)) is ``num_kept``.

    Args:
        probabilities: Of each set being the next, (N,).
        num_kept: Sets that the cache holds.
    """
    if num_kept >= len(probabilities):
        return 1.0
    low, high = 0.0, 1.0
    while _held(probabilities, high) < num_kept:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _held(probabilities, middle) < num_kept else (low, middle)
    return float((probabilities * -np.expm1(-probabilities * high)).sum())


def _held(probabilities: Probabilities, time: float) -> float:
    return float(-np.expm1(-probabilities * time).sum())
