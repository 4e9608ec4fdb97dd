"""``adavae evaluate``: measure an adapter set on a dataset."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adavae.model.decoding.decoding import NUM_SEEDS
from adavae.model.errors import DatasetError
from adavae.model.training.progress import OnStage
from adavae.model.training.readers.columns import GUESSED, Columns
from adavae.service import loading
from adavae.service.commands.options import (
    AdapterOption,
    DeviceOption,
    JsonOption,
    LabelColumnOption,
    PairColumnOption,
    TextColumnOption,
    takes,
)
from adavae.service.commands.terminal import Output, progress_display, say
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.text_model import TextModel
    from adavae.model.training.corpus import Dataset
    from adavae.model.training.evaluation import TransferCase
    from adavae.model.training.latent_cases import Judges, LatentSpaceConfig
    from adavae.model.training.paraphrases import Paraphrases

Figures = dict[str, Any]
_SPACE = "What the latent space writes"
_MOST_PARAPHRASES = 5_000  # each is compared with every other
_TRANSFER = "Transfer: does an analogy move the label and keep the words?"


class Group(StrEnum):
    """Measures that can be chosen: the paper's figures, and the groups of ``model.training.latent_cases``."""

    PAPER = "paper"
    WALKS = "walks"
    DRAWS = "draws"
    ANALOGIES = "analogies"
    LATENTS = "latents"
    FORMS = "forms"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """How precisely to measure."""

    importance_samples: Annotated[int, typer.Option(min=0, help="Per text, for the perplexity; 0 leaves it out.")] = 100
    importance_rows: Annotated[
        int, typer.Option(min=1, help="Texts that the perplexity is measured on at most, drawn by the seed.")
    ] = 500
    decoded: Annotated[int, typer.Option(min=0, help="Texts decoded again for BLEU and exact match; 0 for none.")] = (
        1000
    )
    seed: Annotated[int, typer.Option(min=0, max=NUM_SEEDS - 1, help="Of every random draw.")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentSpaceOptions:
    """How many cases the measures of the latent space use."""

    walks: Annotated[int, typer.Option(min=1, help="Pairs of texts to walk between.", rich_help_panel=_SPACE)] = 100
    draws: Annotated[int, typer.Option(min=1, help="Texts drawn.", rich_help_panel=_SPACE)] = 2000
    pairs: Annotated[int, typer.Option(min=1, help="Analogies: pairs a, b each way.", rich_help_panel=_SPACE)] = 20
    sentences: Annotated[int, typer.Option(min=1, help="Analogies: texts c a pair.", rich_help_panel=_SPACE)] = 50
    pair_certainty: Annotated[
        float,
        typer.Option(min=0, max=1, help="Analogies: how sure the judge is of a and b.", rich_help_panel=_SPACE),
    ] = 0.0
    samples: Annotated[int, typer.Option(min=1, help="Draws to show; fewer of the rest.", rich_help_panel=_SPACE)] = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """The attribute transfer to measure, by one pair; nothing is measured if no option is given."""

    pair: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="The fixed texts a and b of every analogy.", rich_help_panel=_TRANSFER),
    ] = None
    labels: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="FROM TO", help="The labels that A and B have.", rich_help_panel=_TRANSFER),
    ] = None
    scale: Annotated[float, typer.Option(help="How far to go.", rich_help_panel=_TRANSFER)] = 1.0
    transfer_limit: Annotated[int, typer.Option(min=1, help="Sentences at most.", rich_help_panel=_TRANSFER)] = 500

    def __post_init__(self) -> None:
        if (self.pair is None) != (self.labels is None):
            raise typer.BadParameter("--pair, --labels and --judge-data go together: give all three or none")


@takes(TransferOptions, "transfer")
@takes(LatentSpaceOptions, "space")
@takes(MeasureOptions, "measure")
def evaluate(
    measure: MeasureOptions,
    space: LatentSpaceOptions,
    transfer: TransferOptions,
    data: Annotated[Path, typer.Option("--data", "-d", help="Texts, in a file of any kind that train reads.")],
    judge_data: Annotated[
        Path | None,
        typer.Option(help="The set's training texts, from which the judges of fluency and labels learn."),
    ] = None,
    paraphrases: Annotated[
        Path | None,
        typer.Option(
            help="Pairs of texts (columns text, text_pair) that say the same, or by their labels do (1) or do not (0); "
            f"{_MOST_PARAPHRASES:,} at most, drawn by the seed.",
            rich_help_panel=_SPACE,
        ),
    ] = None,
    groups: Annotated[
        list[Group] | None,
        typer.Option("--group", "-g", help="Measure this only; repeat for more. All that the data allow if left out."),
    ] = None,
    text_column: TextColumnOption = None,
    label_column: LabelColumnOption = None,
    pair_column: PairColumnOption = None,
    adapter: AdapterOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=2, help="Measure on so many texts, drawn by the seed.")
    ] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure an adapter set: the paper's figures, what its latent space writes (walks, draws, analogies), and z."""
    if transfer.pair is not None and judge_data is None:
        raise typer.BadParameter("--pair, --labels and --judge-data go together: give all three or none")
    settings = load_settings()
    name = adapter or settings.default_adapter
    columns, needs_labels = Columns(text_column, label_column, pair_column), transfer.pair is not None
    held_out = _read(data, columns, limit=limit, seed=measure.seed, require_labels=needs_labels)
    learned = None if judge_data is None else _read(judge_data, columns, require_labels=needs_labels)
    if learned is not None and learned.digest == held_out.digest:
        raise typer.BadParameter("--judge-data has the texts of --data: a judge must not have read what it judges")
    if paraphrases is not None and groups is not None and Group.LATENTS not in groups:
        raise typer.BadParameter("--paraphrases are measured with --group latents: add it, or leave --group out")
    pairs = None if paraphrases is None else _paraphrases(paraphrases, measure.seed)
    in_space = _space_config(groups, space, measure.seed)
    with progress_display() as display:
        judges, case = _judged(held_out, learned, in_space, transfer, display.update)
    text_model = loading.load_text_model(settings, [name], device)
    measures_paper, figures = groups is None or Group.PAPER in groups, Figures()
    if measures_paper:
        _say_unknown_labels(text_model, name, held_out)
    try:
        with progress_display() as display:
            if measures_paper:
                figures |= _paper(text_model, name, held_out, measure, display.update)
            if in_space is not None:
                figures |= _space(text_model, name, held_out, learned, judges, pairs, in_space, display.update)
            if case is not None:
                figures |= _transfer(text_model, name, case, transfer.scale)
    finally:  # what was measured before a fault is shown
        if figures:
            output = Output.of(as_json)
            figures = {"adapter": text_model.reference_of(name), "data": held_out.source, **figures}
            output.write_object(figures if output.is_json else _as_table(figures))
    _refuse_left_out(groups, figures)


def _read(path: Path, columns: Columns, *, limit: int | None = None, seed: int = 0, require_labels: bool) -> "Dataset":
    from adavae.model.training.corpus import read_dataset

    dataset = read_dataset(path, limit=limit, seed=seed, require_labels=require_labels, columns=columns)
    for note in dataset.notes:
        say(note)
    return dataset


def _paraphrases(path: Path, seed: int) -> "Paraphrases":
    from adavae.model.training.paraphrases import Paraphrases

    return Paraphrases.of(_read(path, GUESSED, limit=_MOST_PARAPHRASES, seed=seed, require_labels=False))


def _space_config(groups: list[Group] | None, space: LatentSpaceOptions, seed: int) -> "LatentSpaceConfig | None":
    """What is measured of the latent space; None for nothing."""
    from adavae.model.training import latent_cases

    named = None if groups is None else tuple(latent_cases.Group(each) for each in groups if each is not Group.PAPER)
    if named == ():
        return None
    return latent_cases.LatentSpaceConfig(
        groups=named,
        num_walks=space.walks,
        num_draws=space.draws,
        num_pairs=space.pairs,
        num_sentences=space.sentences,
        pair_certainty=space.pair_certainty,
        num_samples=space.samples,
        seed=seed,
    )


def _judged(
    held_out: "Dataset",
    learned: "Dataset | None",
    config: "LatentSpaceConfig | None",
    transfer: TransferOptions,
    on_progress: OnStage,
) -> "tuple[Judges | None, TransferCase | None]":
    """The judges of what will be measured; raises DatasetError where the data do not allow what was asked for."""
    from adavae.model.training.evaluation import TransferCase
    from adavae.model.training.latent_cases import check_groups, judges_for

    judges = case = None
    if learned is not None and transfer.pair is not None and transfer.labels is not None:
        source_label, target_label = transfer.labels
        case = TransferCase.of(
            held_out,
            learned,
            transfer.pair,
            source_label=source_label,
            target_label=target_label,
            limit=transfer.transfer_limit,
        )
    if config is not None:
        judges = judges_for(held_out, learned, config, on_progress)
        check_groups(held_out, learned, judges, config)
    return judges, case


def _say_unknown_labels(text_model: "TextModel", name: str, held_out: "Dataset") -> None:
    from adavae.model.training.evaluation import label_notes

    for note in label_notes(text_model.config_of(name).labels, held_out):
        say(f"{held_out.source} {note}")


def _paper(
    text_model: "TextModel", name: str, held_out: "Dataset", measure: MeasureOptions, on_progress: OnStage
) -> Figures:
    from adavae.model.training.evaluation import EvaluationConfig, evaluate

    config = EvaluationConfig(
        num_importance_samples=measure.importance_samples,
        max_importance_rows=measure.importance_rows,
        max_decoded=measure.decoded,
        seed=measure.seed,
    )
    return evaluate(text_model, name, held_out, config, on_progress)


def _space(
    text_model: "TextModel",
    name: str,
    held_out: "Dataset",
    learned: "Dataset | None",
    judges: "Judges | None",
    paraphrases: "Paraphrases | None",
    config: "LatentSpaceConfig",
    on_progress: OnStage,
) -> Figures:
    from adavae.model.training.latent_space import measure_latent_space
    from adavae.model.training.operations import AsServed

    operations = AsServed(text_model, name)
    space = measure_latent_space(
        operations, held_out, learned, config, on_progress, judges=judges, paraphrases=paraphrases
    )
    return {"latent_space": space}


def _refuse_left_out(groups: list[Group] | None, figures: Figures) -> None:
    """Raises DatasetError if a group was named and could not be measured after all."""
    left_out = figures.get("latent_space", {}).get("left_out", {})
    faults = [f"{name} could not be measured: {why}" for name, why in left_out.items() if name in (groups or ())]
    if faults:
        raise DatasetError("; ".join(faults))


def _as_table(figures: Figures) -> Figures:
    """The figures as a table: the latent space's main ones beside their comparison, and no samples."""
    from adavae.model.storage.latent_space_card import figure_rows

    space = figures.get("latent_space", {})
    paper = {name: value for name, value in figures.items() if name != "latent_space"}
    missing = {f"{name}: not measured": why for name, why in space.get("left_out", {}).items()}
    return {**paper, **figure_rows(space), **missing}


def _transfer(text_model: "TextModel", name: str, case: "TransferCase", scale: float) -> Figures:
    from adavae.model.training.evaluation import evaluate_transfer

    return evaluate_transfer(text_model, name, case, scale=scale)
