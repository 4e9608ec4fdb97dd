"""The ways of ``additions`` measured: one set, asked for the same drawn cases in every way.

Nothing is trained. Each way is a line of ``additions.jsonl`` when it is finished, which holds numbers and none of the
texts; the figures are those of ``measure_latent_space``.
"""

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch

from adavae.model.errors import AdapterSetMismatch
from adavae.model.text_model import TextModel
from adavae.model.training.corpus import Dataset, read_dataset
from adavae.model.training.latent_cases import Group, Judges, LatentSpaceConfig
from adavae.model.training.latent_space import measure_latent_space
from adavae.model.training.progress import OnStage
from adavae.model.training.reproduction.additions import ADDITIONS, Addition
from adavae.model.training.reproduction.corpus import file_of
from adavae.model.training.reproduction.data_folder import digest_of
from adavae.model.training.reproduction.kept_lines import append_line, kept_in, open_for_lines
from adavae.model.training.reproduction.scale import ScaleName

TABLE, DATASET = "additions", "yelp"
PROCEDURES = 1
"""Raised by whoever changes what a way or a figure of these names is; a cell of another number is another cell."""

SIZES = {
    ScaleName.SMOKE: LatentSpaceConfig(num_walks=3, num_draws=16, num_pairs=2, num_sentences=3),
    ScaleName.CPU: LatentSpaceConfig(num_walks=100, num_draws=1000, num_pairs=20, num_sentences=25),
    ScaleName.PAPER: LatentSpaceConfig(num_walks=500, num_draws=5000, num_pairs=40, num_sentences=100),
}
_COUNTED = {
    Group.DRAWS: ("num_draws",),
    Group.WALKS: ("num_walks", "steps"),
    Group.ANALOGIES: ("num_pairs", "num_sentences"),
}
_OUTCOME = ("figures", "seconds", "torch", "command")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditionCell:
    """One way, measured.

    Attributes:
        group: Such as ``walks``.
        row: The way's name.
        adapter: The set, with its version, which is a digest.
        backbone: Digest of the backbone.
        dataset: The data set's name.
        files: Digest of its folder.
        scale: The scale's name.
        cases: What that name meant.
        seed: Of the cases.
        settings: ``Addition.settings`` when it was measured.
        procedures: ``PROCEDURES`` likewise.
        figures: By their path in the report of ``measure_latent_space``, such as ``fluency.nats``.
        seconds: Of one core, the judges' learning left out.
        torch: Version of PyTorch.
        command: What makes all ways again; DATA is the folder of the data sets.
    """

    group: str
    row: str
    adapter: str
    backbone: str
    dataset: str
    files: str
    scale: str
    cases: dict[str, int]
    seed: int
    settings: dict[str, float]
    procedures: int
    figures: dict[str, float]
    seconds: float
    torch: str
    command: str

    @property
    def key(self) -> str:
        """What makes it the same cell: all but what came of it."""
        return json.dumps({name: value for name, value in asdict(self).items() if name not in _OUTCOME}, sort_keys=True)

    @property
    def circumstances(self) -> tuple[str, ...]:
        """What the rows of one table have in common."""
        return self.adapter, self.backbone, self.dataset, self.files, self.scale, str(self.seed)

    @classmethod
    def from_line(cls, line: str) -> Self:
        return cls(**json.loads(line))


@dataclass(frozen=True)
class JudgedTexts:
    """Texts to measure on, and judges who have read others.

    Attributes:
        held_out: ``valid`` of a data set, as the defaults were chosen on ``test``.
        learned: ``train``, from which the judges learn.
    """

    held_out: Dataset
    learned: Dataset

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Raises DatasetError where a file is missing or cannot be used."""
        return cls(read_dataset(file_of(folder, "valid")), read_dataset(file_of(folder, "train")))

    @cached_property
    def judges(self) -> Judges:
        return Judges.of(self.learned, self.held_out)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be measured.

    Attributes:
        text_model: Has the set.
        name: The set.
        backbone: Digest of the backbone.
        folder: The data set.
        scale: How many cases.
        seed: Of the cases.
        output: Directory of what is finished.
    """

    text_model: TextModel
    name: str
    backbone: str
    folder: Path
    scale: ScaleName
    seed: int
    output: Path

    @property
    def file(self) -> Path:
        return self.output / f"{TABLE}.jsonl"

    def cell(self, addition: Addition) -> AdditionCell:
        """Its cell before it is measured."""
        words = ["adavae", "reproduce", TABLE, "--data", "DATA", "--scale", str(self.scale)]
        words += [] if self.folder.name == DATASET else ["--dataset", self.folder.name]
        words += ["--adapter", self.name, *(["--seed", str(self.seed)] if self.seed else [])]
        return AdditionCell(
            group=str(addition.group),
            row=addition.name,
            adapter=self.text_model.reference_of(self.name),
            backbone=self.backbone,
            dataset=self.folder.name,
            files=digest_of(self.folder),
            scale=str(self.scale),
            cases=_cases(self.scale, addition.group),
            seed=self.seed,
            settings=addition.settings,
            procedures=PROCEDURES,
            figures={},
            seconds=0.0,
            torch=torch.__version__,
            command=shlex.join(words),
        )


def _cases(scale: ScaleName, group: Group) -> dict[str, int]:
    return {name: getattr(SIZES[scale], name) for name in _COUNTED[group]}


def run_additions(asked: Asked, on_stage: OnStage) -> Iterator[AdditionCell]:
    """Measures what is not finished yet, and yields every cell; without labels there are no analogies.

    Raises:
        AdapterSetMismatch: The set has no flow.
        DatasetError: The data set lacks a file, or its texts do not do.
        ConfigError: The file cannot be written, or holds something else.
    """
    _refuse_without_flow(asked)
    texts = JudgedTexts.read(asked.folder)
    open_for_lines(asked.file)
    finished = {cell.key: cell for cell in finished_additions(asked.output)}
    has_labels = texts.held_out.labels is not None
    additions = [each for each in ADDITIONS if has_labels or each.group is not Group.ANALOGIES]
    for number, addition in enumerate(additions, 1):
        cell = asked.cell(addition)
        if cell.key not in finished:
            cell = _measured(cell, addition, asked, texts, _named(on_stage, f"{number}/{len(additions)} {cell.row}"))
            append_line(asked.file, asdict(cell))
            finished[cell.key] = cell
        yield finished[cell.key]


def _refuse_without_flow(asked: Asked) -> None:
    prior = asked.text_model.space_of(asked.name).prior
    if prior is None or prior.network is None:
        reference = asked.text_model.reference_of(asked.name)
        raise AdapterSetMismatch(f"{reference} has no flow to switch on and off: choose another set, or train it again")


def _measured(
    cell: AdditionCell, addition: Addition, asked: Asked, texts: JudgedTexts, on_stage: OnStage
) -> AdditionCell:
    judges = texts.judges
    began_s = time.process_time()
    config = replace(SIZES[asked.scale], groups=(addition.group,), seed=asked.seed)
    operations = addition.operations(asked.text_model, asked.name)
    report = measure_latent_space(operations, texts.held_out, texts.learned, config, on_stage, judges=judges)
    figures = _numbers(report[addition.group.value])
    return replace(cell, figures=figures, seconds=round(time.process_time() - began_s, 1))


def _named(on_stage: OnStage, name: str) -> OnStage:
    return lambda stage, done, total: on_stage(f"{name}: {stage}", done, total)


def _numbers(report: Mapping[str, Any], under: str = "") -> dict[str, float]:
    """Every number of a report by its path; texts and lists of them are left out."""
    found: dict[str, float] = {}
    for name, value in report.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{under}{name}.")
        elif isinstance(value, int | float):
            found[under + name] = value
    return found


def finished_additions(output: Path) -> list[AdditionCell]:
    """What was measured before, of any set; raises ConfigError where the file holds something else."""
    return kept_in(output / f"{TABLE}.jsonl", AdditionCell.from_line)


def of_last_measured(cells: Sequence[AdditionCell]) -> list[AdditionCell]:
    """The cells that stand beside the last one in a table, in its order: same set, same cases, ways as they are now.

    Cells of scale smoke count for nothing.
    """
    ways = {(str(each.group), each.name): (place, each) for place, each in enumerate(ADDITIONS)}

    def is_current(cell: AdditionCell) -> bool:
        _, way = ways.get((cell.group, cell.row), (0, None))
        if way is None or cell.scale == ScaleName.SMOKE or cell.procedures != PROCEDURES:
            return False
        return cell.settings == way.settings and cell.cases == _cases(ScaleName(cell.scale), way.group)

    current = list(filter(is_current, cells))
    alike = [cell for cell in current if cell.circumstances == current[-1].circumstances]
    return sorted(alike, key=lambda cell: ways[cell.group, cell.row][0])
