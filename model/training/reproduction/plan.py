"""What of a grid is still to be run, and what it costs by the cells that were measured before."""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from adavae.model.training.reproduction.grid import Cell, Grid, Task


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells that are to be run.

    Attributes:
        seconds: By the number of the cell in its grid, from 1: expected seconds of one core; all 1 where no cell of the
            scale was ever measured.
        is_measured: Whether any was.
    """

    seconds: dict[int, float]
    is_measured: bool

    @classmethod
    def of(cls, grid: Grid, backbone: str, measured: Collection[Cell], unusable: Collection[Path] = ()) -> "Plan":
        """A cell is expected to cost what its row cost, on the same data set if it can be; else what all cost.

        Args:
            grid: What is asked for.
            backbone: Digest of the backbone.
            measured: Finished cells of any grid.
            unusable: Folders of data sets whose cells are not run.
        """
        finished = {cell.key for cell in measured}
        waiting = {
            number: task
            for number, task in enumerate(grid.tasks(), 1)
            if task.folder not in unusable and task.key(backbone) not in finished
        }
        seconds = {number: _expected(task, measured) for number, task in waiting.items()}
        known = [each for each in seconds.values() if each is not None]
        return cls({number: each or 1.0 for number, each in seconds.items()}, bool(known))

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


def _expected(task: Task, measured: Collection[Cell]) -> float | None:
    alike = [cell for cell in measured if cell.scale == task.scale and cell.sizes == task.sizes]
    of_table = [cell for cell in alike if cell.table == task.table]
    of_row = [cell for cell in of_table if (cell.row, cell.checkpoint) == (task.row.name, task.checkpoint)]
    nearest: Sequence[Sequence[Cell]] = ([c for c in of_row if c.dataset == task.folder.name], of_row, of_table, alike)
    found = next((cells for cells in nearest if cells), None)
    return None if found is None else statistics.fmean(cell.seconds for cell in found)
