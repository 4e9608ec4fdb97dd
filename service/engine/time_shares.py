"""Equal shares of the device thread's time for different kinds of work, as long as each has something to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from adavae.service.engine.work import Done

Kind = TypeVar("Kind", bound=str)


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of work: how much of it waits, and what does a step of it."""

    num_waiting: int
    step: Callable[[], list[Done]]


class TimeShares(Generic[Kind]):
    """What each kind has been given so far, by the clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._spent_s: dict[Kind, float] = {}

    def step(self, tasks: Mapping[Kind, Task], overdue: Kind | None = None) -> tuple[list[Done], float]:
        """A step of the kind that has been given least of those that wait: what is done, and how long it took.

        One that waits and is ``overdue`` has its step out of turn, which does not count. Nothing is done, in no time,
        where nothing waits.
        """
        waiting = [kind for kind, task in tasks.items() if task.num_waiting]
        if not waiting:
            return [], 0.0
        least_s = min(self._spent_s.get(kind, 0.0) for kind in waiting)
        for kind in tasks.keys() - set(waiting):  # nothing is saved up by having had nothing to do
            self._spent_s[kind] = max(self._spent_s.get(kind, 0.0), least_s)
        kind = overdue or min(waiting, key=lambda each: self._spent_s.get(each, 0.0))
        began = self._clock()
        done = tasks[kind].step()
        took_s = self._clock() - began
        if overdue is None:
            self._spent_s[kind] = self._spent_s.get(kind, 0.0) + took_s
        return done, took_s
