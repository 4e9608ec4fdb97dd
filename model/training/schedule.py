"""What changes over a run: beta (cyclical annealing), the learning rate, which parts train, and when it is validated.

Pure functions.
"""

import math
from enum import StrEnum
from typing import Literal


class Stage(StrEnum):
    """Which parts train (paper Section 3.1)."""

    LATENT_FIRST = "latent_first"
    ALL = "all"


def beta_at(
    step: int,
    total_steps: int,
    *,
    cycles: int = 4,
    zero_share: float = 0.25,
    rise_share: float = 0.25,
    maximum: float = 1.0,
) -> float:
    """Weight of the KL by cyclical annealing (Fu et al. 2019).

    Each cycle stays at zero for ``zero_share`` of its steps, rises linearly for ``rise_share``, then stays at
    ``maximum``; after ``total_steps`` it stays there too.
    """
    if step >= total_steps:
        return maximum
    place = (step * cycles / max(1, total_steps)) % 1.0  # place within the cycle, [0, 1)
    if place < zero_share:
        return 0.0
    if rise_share == 0.0:
        return maximum
    return maximum * min(1.0, (place - zero_share) / rise_share)


def learning_rate_at(
    step: int,
    total_steps: int,
    *,
    peak: float,
    warmup: int,
    kind: Literal["cosine", "linear", "constant"],
    final_share: float = 0.02,
) -> float:
    """Linear warm-up to ``peak``, then by ``kind``: a half cosine down to ``final_share`` of the peak, constant for a
    third of the run and then linear down to it, or constant.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if kind == "constant":
        return peak
    done = (step - warmup) / max(1, total_steps - 1 - warmup)
    if kind == "cosine":
        return peak * (final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))
    return peak * max(final_share, 1 - (1 - final_share) * max(0.0, done - 1 / 3) * 1.5)


def stage_at(step: int, total_steps: int, stage_one_share: float = 1 / 6) -> Stage:
    """At first only the encoder and latent parts train, then everything."""
    return Stage.LATENT_FIRST if step < stage_one_share * total_steps else Stage.ALL


def is_due(step: int, total_steps: int, times: int) -> bool:
    """Whether a step, from 1 on, is one of so many that are evenly spaced; the last one is."""
    return step * times // total_steps > (step - 1) * times // total_steps
