"""How far a grid of cells is: each cell's steps, and the time left for all of them."""

import time
from collections.abc import Callable, Mapping

from adavae.service.commands.terminal import ProgressDisplay


class GridProgress:
    """Tells a display of cells, one after the other or several at once; the time left is what the pace so far gives.

    ``costs`` are those of the cells to be run, by number, in any unit.
    """

    def __init__(
        self,
        display: ProgressDisplay,
        name: str,
        costs: Mapping[int, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._display, self._name, self._costs, self._clock = display, name, costs, clock
        self._began_s = clock()
        self._done: dict[int, float] = {}

    def on_cell(self, name: str, number: int, total: int) -> Callable[[int, int, float], None]:
        """What hears of the steps of one cell."""
        stage = f"{number}/{total} {name}"
        self._done[number] = 0.0

        def on_step(step: int, steps: int, loss: float) -> None:
            self._done[number] = step / steps
            if step == steps or step % 10 == 0:
                self._display.update(stage, step, steps, f"loss {loss:.3f}{self._then(is_last=step == steps)}")

        return on_step

    def _then(self, *, is_last: bool) -> str:
        if is_last:  # what is measured after the last step can take as long as the steps did, and has no pace
            return ", all steps done; what follows may take as long"
        left_s = self.left_s
        return "" if left_s is None else f", {left_text(left_s)} left for {self._name}"

    @property
    def left_s(self) -> float | None:
        """Seconds left for the whole grid; None before anything is done."""
        done = sum(share * self._costs[number] for number, share in self._done.items())
        if not done:
            return None
        return (self._clock() - self._began_s) / done * max(0.0, sum(self._costs.values()) - done)


def left_text(left_s: float) -> str:
    """To two figures, as ``3 h 20 min``."""
    minutes = round(left_s / 60)
    if minutes < 1:
        return f"{round(left_s)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
