"""Several ways of doing the same thing, measured in turn in one run, so that a disturbance affects all."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Way = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the report.

    Attributes:
        name: What was measured, on which shape.
        value: Usually a ratio; ``unit`` says of what.
        low: Lowest of all rounds.
        high: Highest of all rounds.
        target: The bound it is held to, or None.
        is_met: Whether it keeps the bound; None without one.
        details: Absolute figures.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str = "ratio"
    target: str | None = None
    is_met: bool | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def rates(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Units of work per second of each way in each round; a way returns how many it did. One round warms up."""
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            done = way()
            if number:
                measured[name].append(done / (time.perf_counter() - started))
    return measured


def compared(
    name: str,
    measured: Mapping[str, list[float]],
    ours: str,
    peer: str,
    *,
    at_least: float | None = None,
    unit: str = "ratio",
) -> Figure:
    """``ours`` over ``peer``: the median of the rounds' ratios and their spread."""
    ratios = [rate / other for rate, other in zip(measured[ours], measured[peer], strict=True)]
    median = statistics.median(ratios)
    return Figure(
        name=name,
        value=round(median, 3),
        low=round(min(ratios), 3),
        high=round(max(ratios), 3),
        unit=unit,
        target=None if at_least is None else f">= {at_least:g}",
        is_met=None if at_least is None else median >= at_least,
        details={f"{way}_per_s": round(statistics.median(values), 1) for way, values in measured.items()},
    )


def percentile(values: list[float], share: float) -> float:
    """The smallest value that a ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
