"""A table as a grid of cells, row by data set by seed: each is run once, and a grid that was killed goes on.

Finished cells are lines of the table's file, such as ``table1.jsonl``, which any machine goes on from; a cell that was
under way begins again.
"""

import json
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch

from adavae.model.errors import AdaVAEError, DatasetError, TrainingDiverged
from adavae.model.storage.pretrained import PretrainedBackbone
from adavae.model.training.reproduction.data_folder import DataFolder, digest_of
from adavae.model.training.reproduction.failures import Failures
from adavae.model.training.reproduction.kept_lines import append_line, kept_in, open_for_lines
from adavae.model.training.reproduction.precision import matrix_dtype
from adavae.model.training.reproduction.rows import Given, OnStep, Outcome, TableRow
from adavae.model.training.reproduction.scale import SCALES, ScaleName

TABLES = ("table1", "table2", "table3", "figure1")
"""Each has a file in a grid's directory: one finished cell a line."""

Key = tuple[str, str, str, str, int, str, str, str, int, str]
"""What makes a cell the same: table, row, data set, scale, seed, backbone, sizes, the data's files, procedures,
checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row on one data set, measured.

    Attributes:
        table: Which table it belongs to.
        row: The system's name.
        dataset: The data set's name.
        scale: The scale's name.
        sizes: What that name meant; a cell of other sizes is another cell.
        seed: Of the run.
        backbone: Digest of the backbone.
        figures: ``rows.Outcome``'s: ``measuring.Figures``, or accuracy.
        figures_cut: The same with texts cut where the authors' code cuts them, or empty.
        trained_parameters: Parameters that training changed.
        share_percent: The same as the paper counts them, or None.
        weights: Where the initial weights come from.
        texts: Digest of the training texts.
        files: Digest of the data set's folder: two of one name are two data sets.
        procedures: The row's number when it was run.
        seconds: Of training and measuring, of one core: what the process computed for, not what it waited.
        torch: Version of PyTorch.
        command: What makes it again; DATA is the folder of the data sets.
        precision: ``bfloat16`` or ``float32``: what matrices were multiplied in; empty where a cell does not say.
        checkpoint: ``Checkpoint.identity`` of what the row began from; empty where that is none of transformers.
    """

    table: str
    row: str
    dataset: str
    scale: str
    sizes: dict[str, int | None]
    seed: int
    backbone: str
    figures: dict[str, Any]
    figures_cut: dict[str, Any]
    trained_parameters: int
    share_percent: float | None
    weights: str
    texts: str
    files: str
    procedures: int
    seconds: float
    torch: str
    command: str
    precision: str = ""
    checkpoint: str = ""

    @property
    def key(self) -> Key:
        """What makes it the same cell."""
        what = self.table, self.row, self.dataset, self.scale, self.seed, self.backbone, json.dumps(self.sizes)
        return *what, self.files, self.procedures, self.checkpoint

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

    @property
    def sizes(self) -> dict[str, int | None]:
        return asdict(SCALES[self.scale])

    def key(self, backbone: str) -> Key:
        """``Cell.key`` of its cell, over the backbone of that digest."""
        what = self.table, self.row.name, self.folder.name, str(self.scale), self.seed, backbone, json.dumps(self.sizes)
        return *what, digest_of(self.folder), self.row.procedures, self.checkpoint

    @property
    def checkpoint(self) -> str:
        """``Cell.checkpoint`` of its cell."""
        return "" if self.row.checkpoint is None else self.row.checkpoint.identity

    @property
    def beginning(self) -> tuple[Path, str] | None:
        """What the cells that begin with the same training have in common; None where it shares none."""
        return (self.folder, self.row.shared) if self.row.shared else None

    @property
    def command(self) -> str:
        """What makes its cell alone."""
        words = ["adavae", "reproduce", self.table, "--data", "DATA", "--scale", str(self.scale)]
        words += ["--dataset", self.folder.name, "--row", self.row.name, "--seed", str(self.seed)]
        words += [] if self.row.checkpoint is None else self.row.checkpoint.words
        return shlex.join(words)

    def run(self, data: DataFolder, pretrained: PretrainedBackbone, device: torch.device, on_step: OnStep) -> Cell:
        """Trains and measures it.

        Raises:
            TrainingDiverged: The loss or a figure is not finite.
        """
        began_s = time.process_time()
        outcome = self.row.run(Given(pretrained, data, SCALES[self.scale], self.seed, device, on_step))
        _refuse_infinite(outcome)
        return Cell(
            table=self.table,
            row=self.row.name,
            dataset=self.folder.name,
            scale=str(self.scale),
            sizes=self.sizes,
            seed=self.seed,
            backbone=pretrained.digest,
            figures=outcome.figures,
            figures_cut=outcome.figures_cut,
            trained_parameters=outcome.trained_parameters,
            share_percent=outcome.share_percent,
            weights=outcome.weights,
            texts=outcome.texts,
            files=data.files,
            procedures=self.row.procedures,
            seconds=round(time.process_time() - began_s, 1),
            torch=torch.__version__,
            command=self.command,
            precision=str(matrix_dtype(device)).removeprefix("torch."),
            checkpoint=self.checkpoint,
        )

    def failure(self, exc: Exception) -> str:
        """Which cell it was, and why it could not be run; of a data set that cannot be used, which that was."""
        if isinstance(exc, DatasetError):
            return f"{self.folder.name}: {exc}"
        kind = "" if isinstance(exc, AdaVAEError) else f"{type(exc).__name__}: "
        return f"{self.folder.name}: {self.row.name}: {kind}{exc}"

    def data(self, pretrained: PretrainedBackbone, kept: DataFolder | None) -> DataFolder:
        """Its texts: ``kept`` if these are the same, else not read yet; what other seeds began with is kept."""
        if kept is not None and kept.is_of(self.folder):
            return kept.at_seed(self.seed)
        return DataFolder(self.folder, pretrained.tokenizer, SCALES[self.scale], self.seed)


def _refuse_infinite(outcome: Outcome) -> None:
    for figures in (outcome.figures, outcome.figures_cut):
        for name, figure in figures.items():
            if isinstance(figure, float) and not math.isfinite(figure):
                raise TrainingDiverged(f"{name} is {figure} after training: try another seed or another scale")


@dataclass(frozen=True, slots=True)
class Grid:
    """What is to be run.

    Attributes:
        table: Its name, such as ``table1``.
        rows: The systems.
        folders: A folder per data set.
        scale: Sizes and steps.
        seeds: Each row is run once with each.
        output: Directory of the tables' files.
    """

    table: str
    rows: Sequence[TableRow]
    folders: Sequence[Path]
    scale: ScaleName
    seeds: Sequence[int]
    output: Path

    def tasks(self) -> list[Task]:
        """Every cell, in the order of the table: data set by data set, and seed by seed within it.

        A row that is named after more texts than a data set has is left out there.
        """
        return [
            Task(self.table, row, folder, self.scale, seed)
            for folder in self.folders
            for seed in self.seeds
            for row in self.rows
            if row.has_texts(folder)
        ]

    def task_name(self, task: Task) -> str:
        """What a user is told that is being run."""
        seed = f", seed {task.seed}" if len(self.seeds) > 1 else ""
        return f"{task.folder.name}: {task.row.name}{seed}"

    @property
    def file(self) -> Path:
        return cells_file(self.output, self.table)


def cells_file(output: Path, table: str) -> Path:
    """Where the finished cells of one table are."""
    return output / f"{table}.jsonl"


def finished_cells(output: Path, tables: Sequence[str] = TABLES) -> list[Cell]:
    """Cells that were finished before, of any scale; a half-written last line is left out.

    Raises:
        ConfigError: A file of the directory holds something else.
    """
    return [cell for table in tables for cell in kept_in(cells_file(output, table), Cell.from_line)]


NO_FAULTS: Mapping[Path, str] = MappingProxyType({})
OnCell = Callable[[str, int, int], OnStep]
"""Told a cell's name, its number and the number of cells; hears of the steps of that cell."""


def run_grid(
    grid: Grid,
    pretrained: PretrainedBackbone,
    device: torch.device,
    on_cell: OnCell,
    faults: Mapping[Path, str] = NO_FAULTS,
) -> Iterator[Cell]:
    """Runs every cell that is not finished yet, and yields all cells of the grid in its order.

    A row that cannot be run, or a data set that cannot be used, does not keep the others from it.

    Args:
        grid: What to run.
        pretrained: The backbone.
        device: Where to train.
        on_cell: Called before each cell that is run.
        faults: As ``unusable`` gives them; others are found when their turn comes.

    Raises:
        DatasetError: There is no data set, or none that has enough texts for a row.
        ConfigError: The table's file cannot be written, or holds something else.
        CellFailed: After all others, which cells could not be run, and why.
    """
    finished = begin(grid)
    tasks = grid.tasks()
    data: DataFolder | None = None
    failures = Failures(dict(faults))
    for number, task in enumerate(tasks, 1):
        key = task.key(pretrained.digest)
        if key not in finished:
            if failures.has_passed_over(number, task.folder):
                continue
            data = task.data(pretrained, data)
            try:
                cell = task.run(data, pretrained, device, on_cell(grid.task_name(task), number, len(tasks)))
            except DatasetError as exc:
                failures.add_folder(number, task.folder, task.failure(exc))
                continue
            except Exception as exc:  # told in words at the end
                failures.add(number, task.failure(exc))
                continue
            append(grid.file, cell)
            finished[key] = cell
        yield finished[key]
    failures.refuse(len(tasks))


def unusable(grid: Grid, backbone: str) -> dict[Path, str]:
    """Data sets that have cells to run and cannot be read, and why, by their folders.

    Each is read once, as its first such cell reads it: a second, half a minute for 560,000 texts. What the texts that
    another seed draws have wrong shows when their turn comes.

    Args:
        grid: What is asked for.
        backbone: Digest of the backbone.
    """
    finished = begin(grid)
    readers: dict[Path, Task] = {}
    for task in grid.tasks():
        if task.key(backbone) not in finished:
            readers.setdefault(task.folder, task)
    faults: dict[Path, str] = {}
    for task in readers.values():
        try:
            task.row.check(task.folder, SCALES[task.scale], task.seed)
        except DatasetError as exc:
            faults[task.folder] = task.failure(exc)
    return faults


def begin(grid: Grid) -> dict[Key, Cell]:
    """Makes the directory; returns what is finished already, by key.

    Raises:
        DatasetError: There is no data set, or none that has enough texts for a row.
        ConfigError: The table's file cannot be written, or holds something else.
    """
    if not grid.folders:
        raise DatasetError("there is no data set: name the folder that holds them")
    if not grid.tasks():
        raise DatasetError("no data set has as many training texts as the rows are named after: ask for other rows")
    open_for_lines(grid.file)
    return {cell.key: cell for cell in finished_cells(grid.output, [grid.table])}


def append(path: Path, cell: Cell) -> None:
    """One line more."""
    append_line(path, asdict(cell))
