"""How torch's CPU threads are shared out: in the service one thread computes with all cores, every other with one.

Threads that work on one operation wait for the next by spinning, unless the process has more of them than cores: then
each has to be woken again, a hundred times a decode step. A second thread that computed with several would be enough
for that, so the engine's is the only one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_CHOICE_OF_TORCH = torch.get_num_threads()  # before anybody sets another number


def use_threads(count: int) -> None:
    """From now on the calling thread's operations are shared among ``count`` threads."""
    torch.set_num_threads(count)
    torch.get_num_threads()  # from here on, what another thread sets does not reach this one


def alone(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """``function``, to be run in a thread of its own, whose operations are shared with no other."""

    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        use_threads(1)
        return function(*args, **kwargs)

    return run


def available_threads(cpu_max: Path = _CPU_MAX) -> int:
    """What torch would take, or less where a container is allowed less; ``cpu_max`` is the file that says so."""
    try:
        quota, period = cpu_max.read_text().split()
        allowed = max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no such limit: there is no file, or it says "max"
        return _CHOICE_OF_TORCH
    return min(allowed, _CHOICE_OF_TORCH)
