"""A borrowed GPU has little time: how much is left, and how long something takes within a share of it."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

Way = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one call: the median of the rounds, and their spread."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Timing":
        return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))

    def rates(self, amount: float, digits: int = 1) -> dict[str, float | int]:
        """``amount`` a second, median, least and most."""
        numbers = {"median": amount / self.median, "low": amount / self.high, "high": amount / self.low}
        return {**{name: round(value, digits) for name, value in numbers.items()}, "rounds": self.rounds}


class Budget:
    """The time of a whole run."""

    def __init__(self, seconds: float, device: torch.device, *, is_smoke: bool) -> None:
        self.device, self.is_smoke = device, is_smoke
        self._began, self._seconds = time.monotonic(), seconds

    @property
    def spent_s(self) -> float:
        return time.monotonic() - self._began

    @property
    def left_s(self) -> float:
        return self._seconds - self.spent_s

    def compared(self, ways: Mapping[str, Way], share_s: float, max_rounds: int = 15) -> dict[str, Timing]:
        """Every way in turn, round after round, for about ``share_s`` seconds in all; two rounds warm up.

        A round of a way is as many calls as take some milliseconds, timed to the end of the last on the device.
        """
        calls = {name: self._calls_a_round(way) for name, way in ways.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        until = time.monotonic() + min(share_s, max(0.2, 0.5 * self.left_s))
        least = 2 if self.is_smoke else 5
        while all(len(times) < max_rounds for times in seconds.values()):
            if time.monotonic() > until and all(len(times) >= least for times in seconds.values()):
                break
            for name, way in ways.items():
                seconds[name].append(self._timed(way, calls[name]))
            if self.is_smoke and all(len(times) >= least for times in seconds.values()):
                break
        return {name: Timing.of(times) for name, times in seconds.items()}

    def _calls_a_round(self, way: Way) -> int:
        way()  # compiles, captures, allocates
        once = self._timed(way, 1)
        return 1 if self.is_smoke else max(1, min(200, int(0.02 / once)))

    def _timed(self, way: Way, calls: int) -> float:
        self.wait()
        began = time.perf_counter()
        for _ in range(calls):
            way()
        self.wait()
        return (time.perf_counter() - began) / calls

    def wait(self) -> None:
        """For everything that was queued on the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
