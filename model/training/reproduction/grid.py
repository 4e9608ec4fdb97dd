"""A table as a grid of cells, row by data set: each is trained and measured once, and a run that was killed goes on.

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
from adavae.model.training.reproduction.corpus import Corpus, TestTexts
from adavae.model.training.reproduction.measuring import measured
from adavae.model.training.reproduction.rows import OnStep, Row, Setting
from adavae.model.training.reproduction.scale import AUTHORS_CUT, SCALES, ScaleName


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
        figures: ``measuring.Figures``, on the whole texts.
        figures_cut: The same with texts cut where the authors' code cuts them.
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
class Grid:
    """What is to be run.

    Attributes:
        table: Its name, ``table1`` or ``table2``.
        rows: The systems.
        folders: A folder per data set.
        scale: Sizes and steps.
        seed: Of every run.
        output: Directory of ``cells.jsonl``.
    """

    table: str
    rows: Sequence[Row]
    folders: Sequence[Path]
    scale: ScaleName
    seed: int
    output: Path

    @property
    def file(self) -> Path:
        return self.output / "cells.jsonl"

    def finished(self) -> list[Cell]:
        """Cells that were finished before, of any scale; a half-written last line is left out."""
        if not self.file.is_file():
            return []
        lines, cells = self.file.read_text(encoding="utf-8").splitlines(), []
        for number, line in enumerate(lines, 1):
            try:
                cells.append(Cell.from_line(line))
            except (ValueError, TypeError):
                if number < len(lines):  # the last one may have been cut off by a kill
                    rule = f"line {number} is no cell of a table: name another directory"
                    raise ConfigError("output", str(self.file), rule) from None
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
    if not grid.folders:
        raise DatasetError("there is no data set: name the folder that holds them")
    grid.output.mkdir(parents=True, exist_ok=True)
    finished = {cell.key: cell for cell in grid.finished()}
    scale = SCALES[grid.scale]
    total, number = len(grid.folders) * len(grid.rows), 0
    for folder in grid.folders:
        corpus = Corpus.read(folder, pretrained.tokenizer, scale, grid.seed)
        for row in grid.rows:
            number += 1
            key = (grid.table, row.name, folder.name, str(grid.scale), grid.seed, pretrained.digest)
            if key not in finished:
                on_step = on_cell(f"{folder.name}: {row.name}", number, total)
                cell = _run_cell(grid, row, corpus, pretrained, device, on_step)
                _append(grid.file, cell)
                finished[key] = cell
            yield finished[key]


def _run_cell(
    grid: Grid, row: Row, corpus: Corpus, pretrained: PretrainedBackbone, device: torch.device, on_step: OnStep
) -> Cell:
    scale, began = SCALES[grid.scale], time.perf_counter()
    trained = row.train(Setting(pretrained, corpus, scale, grid.seed, device, on_step))
    whole, cut = (
        TestTexts.of(corpus.test, corpus.tokenizer, min(most, scale.most_tokens))
        for most in (scale.most_tokens, AUTHORS_CUT)
    )
    samples = scale.importance_samples
    figures = measured(trained.model, whole, samples, device, grid.seed).to_dict()
    is_cut = cut.token_ids != whole.token_ids
    figures_cut = measured(trained.model, cut, samples, device, grid.seed).to_dict() if is_cut else figures
    return Cell(
        table=grid.table,
        row=row.name,
        dataset=corpus.name,
        scale=str(grid.scale),
        seed=grid.seed,
        backbone=pretrained.digest,
        figures=figures,
        figures_cut=figures_cut,
        trained_parameters=trained.trained_parameters,
        share_percent=trained.share_percent,
        weights=trained.weights,
        seconds=round(time.perf_counter() - began, 1),
    )


def _append(path: Path, cell: Cell) -> None:
    """One line; the end of a line that was cut off by a kill goes first."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text and not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(cell), ensure_ascii=False) + "\n")
