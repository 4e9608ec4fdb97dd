"""A table as a grid of cells, row by data set by seed: each is run once, and a grid that was killed goes on.

Finished cells are lines of ``cells.jsonl``; a cell that was under way begins again.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch

from adavae.model.errors import ConfigError, DatasetError
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.reproduction.data_folder import DataFolder
from adavae.model.training.reproduction.rows import Given, OnStep, TableRow
from adavae.model.training.reproduction.scale import SCALES, ScaleName

FILE = "cells.jsonl"
"""Within a grid's directory: one finished cell a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row on one data set, measured.

    Attributes:
        table: Which table it belongs to.
        row: The system's name.
        dataset: The data set's name.
        scale: The scale's name.
        seed: Of the run.
        backbone: Digest of the backbone.
        figures: ``rows.Outcome``'s: ``measuring.Figures``, or accuracy.
        figures_cut: The same with texts cut where the authors' code cuts them, or empty.
        trained_parameters: Parameters that training changed.
        share_percent: The same as the paper counts them, or None.
        weights: Where the initial weights come from.
        seconds: Of training and measuring.
    """

    table: str
    row: str
    dataset: str
    scale: str
    seed: int
    backbone: str
    figures: dict[str, Any]
    figures_cut: dict[str, Any]
    trained_parameters: int
    share_percent: float | None
    weights: str
    seconds: float

    @property
    def key(self) -> tuple[str, str, str, str, int, str]:
        """What makes it the same cell."""
        return self.table, self.row, self.dataset, self.scale, self.seed, self.backbone

    @classmethod
    def from_line(cls, line: str) -> Self:
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Task:
    """A cell that is to be run.

    Attributes:
        table: Which table it belongs to.
        row: The system.
        folder: The data set.
        scale: Sizes and steps.
        seed: Of the run.
    """

    table: str
    row: TableRow
    folder: Path
    scale: ScaleName
    seed: int

    def key(self, backbone: str) -> tuple[str, str, str, str, int, str]:
        """``Cell.key`` of its cell, over the backbone of that digest."""
        return self.table, self.row.name, self.folder.name, str(self.scale), self.seed, backbone

    def run(self, data: DataFolder, pretrained: PretrainedBackbone, device: torch.device, on_step: OnStep) -> Cell:
        """Trains and measures it."""
        began = time.perf_counter()
        outcome = self.row.run(Given(pretrained, data, SCALES[self.scale], self.seed, device, on_step))
        return Cell(
            table=self.table,
            row=self.row.name,
            dataset=self.folder.name,
            scale=str(self.scale),
            seed=self.seed,
            backbone=pretrained.digest,
            figures=outcome.figures,
            figures_cut=outcome.figures_cut,
            trained_parameters=outcome.trained_parameters,
            share_percent=outcome.share_percent,
            weights=outcome.weights,
            seconds=round(time.perf_counter() - began, 1),
        )

    def data(self, pretrained: PretrainedBackbone) -> DataFolder:
        """Its texts, not read yet."""
        return DataFolder(self.folder, pretrained.tokenizer, SCALES[self.scale], self.seed)


@dataclass(frozen=True, slots=True)
class Grid:
    """What is to be run.

    Attributes:
        table: Its name, such as ``table1``.
        rows: The systems.
        folders: A folder per data set.
        scale: Sizes and steps.
        seeds: Each row is run once with each.
        output: Directory of ``cells.jsonl``.
    """

    table: str
    rows: Sequence[TableRow]
    folders: Sequence[Path]
    scale: ScaleName
    seeds: Sequence[int]
    output: Path

    def tasks(self) -> list[Task]:
        """Every cell, in the order of the table: data set by data set, and seed by seed within it."""
        return [
            Task(self.table, row, folder, self.scale, seed)
            for folder in self.folders
            for seed in self.seeds
            for row in self.rows
        ]

    def task_name(self, task: Task) -> str:
        """What a user is told that is being run."""
        seed = f", seed {task.seed}" if len(self.seeds) > 1 else ""
        return f"{task.folder.name}: {task.row.name}{seed}"

    @property
    def file(self) -> Path:
        return self.output / FILE


def finished_cells(output: Path) -> list[Cell]:
    """Cells that were finished before, of any table and scale; a half-written last line is left out.

    Raises:
        ConfigError: ``cells.jsonl`` of the directory holds something else.
    """
    file = output / FILE
    if not file.is_file():
        return []
    lines, cells = file.read_text(encoding="utf-8").splitlines(), []
    for number, line in enumerate(lines, 1):
        try:
            cells.append(Cell.from_line(line))
        except (ValueError, TypeError):
            if number < len(lines):  # the last one may have been cut off by a kill
                rule = f"line {number} is no cell of a table: name another directory"
                raise ConfigError("output", str(file), rule) from None
    return cells


OnCell = Callable[[str, int, int], OnStep]
"""Told a cell's name, its number and the number of cells; hears of the steps of that cell."""


def run_grid(grid: Grid, pretrained: PretrainedBackbone, device: torch.device, on_cell: OnCell) -> Iterator[Cell]:
    """Runs every cell that is not finished yet, and yields all cells of the grid in its order.

    Args:
        grid: What to run.
        pretrained: The backbone.
        device: Where to train.
        on_cell: Called before each cell that is run.

    Raises:
        DatasetError: A folder lacks a file.
        ConfigError: ``cells.jsonl`` holds something else.
    """
    finished = begin(grid)
    tasks = grid.tasks()
    data: DataFolder | None = None
    for number, task in enumerate(tasks, 1):
        key = task.key(pretrained.digest)
        if key not in finished:
            if data is None or (data.folder, data.seed) != (task.folder, task.seed):
                data = task.data(pretrained)
            cell = task.run(data, pretrained, device, on_cell(grid.task_name(task), number, len(tasks)))
            append(grid.file, cell)
            finished[key] = cell
        yield finished[key]


def begin(grid: Grid) -> dict[tuple[str, str, str, str, int, str], Cell]:
    """Makes the directory; returns what is finished already, by key.

    Raises:
        DatasetError: There is no data set.
        ConfigError: ``cells.jsonl`` holds something else.
    """
    if not grid.folders:
        raise DatasetError("there is no data set: name the folder that holds them")
    grid.output.mkdir(parents=True, exist_ok=True)
    return {cell.key: cell for cell in finished_cells(grid.output)}


def append(path: Path, cell: Cell) -> None:
    """One line; the end of a line that was cut off by a kill goes first."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text and not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(cell), ensure_ascii=False) + "\n")
