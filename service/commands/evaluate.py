"""``adavae evaluate``: measure an adapter set on a dataset."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adavae.service import loading
from adavae.service.commands.options import AdapterOption, DeviceOption, JsonOption, takes
from adavae.service.commands.terminal import Output, progress_display
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.text_model import TextModel
    from adavae.model.training.corpus import Dataset

_TRANSFER = "Transfer: does an analogy move the label and keep the words?"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOptions:
    """How closely to measure."""

    importance_samples: Annotated[int, typer.Option(min=0, help="Per text, for the perplexity; 0 leaves it out.")] = 100
    decoded: Annotated[int, typer.Option(min=0, help="Texts decoded again for BLEU and exact match; 0 for none.")] = (
        10_000
    )
    interpolations: Annotated[int, typer.Option(min=0, help="Pairs of texts to walk between; 0 for none.")] = 100
    seed: Annotated[int, typer.Option(min=0, help="Of every random draw.")] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOptions:
    """The attribute transfer to measure; None of it for no such measure."""

    pair: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="The fixed texts a and b of every analogy.", rich_help_panel=_TRANSFER),
    ] = None
    labels: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="FROM TO", help="The labels that A and B have.", rich_help_panel=_TRANSFER),
    ] = None
    judge_data: Annotated[
        Path | None,
        typer.Option(help="Labelled texts that an independent judge learns from.", rich_help_panel=_TRANSFER),
    ] = None
    scale: Annotated[float, typer.Option(help="How far to go.", rich_help_panel=_TRANSFER)] = 1.0
    transfer_limit: Annotated[int, typer.Option(min=1, help="Sentences at most.", rich_help_panel=_TRANSFER)] = 500

    def __post_init__(self) -> None:
        given = [self.pair is not None, self.labels is not None, self.judge_data is not None]
        if any(given) and not all(given):
            raise typer.BadParameter("--pair, --labels and --judge-data go together: give all three or none")


@takes(TransferOptions, "transfer")
@takes(MeasureOptions, "measure")
def evaluate(
    measure: MeasureOptions,
    transfer: TransferOptions,
    data: Annotated[Path, typer.Option("--data", "-d", help="Texts: .tsv (label, text), .jsonl or .txt, also as .xz.")],
    adapter: AdapterOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=2, help="Measure on the first texts only.")] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure PPL, -ELBO, KL, MI, active units, reconstruction, accuracy where there are labels, transfer if asked."""
    settings = load_settings()
    name = adapter or settings.default_adapter
    dataset = _read(data, limit=limit, require_labels=transfer.pair is not None)
    judge_data = None if transfer.judge_data is None else _read(transfer.judge_data, require_labels=True)
    text_model = loading.load_text_model(settings, [name], device)
    figures = _evaluate(text_model, name, dataset, measure)
    if judge_data is not None:
        figures |= _transfer(text_model, name, dataset, judge_data, transfer)
    Output.of(as_json).write_object(figures)


def _read(path: Path, *, limit: int | None = None, require_labels: bool) -> "Dataset":
    from adavae.model.training.corpus import read_dataset

    return read_dataset(path, limit=limit, require_labels=require_labels)


def _evaluate(text_model: "TextModel", name: str, dataset: "Dataset", options: MeasureOptions) -> dict[str, Any]:
    from adavae.model.training.evaluation import EvaluationConfig, evaluate

    config = EvaluationConfig(
        num_importance_samples=options.importance_samples,
        max_decoded=options.decoded,
        num_interpolations=options.interpolations,
        seed=options.seed,
    )
    with progress_display() as display:
        return evaluate(text_model, name, dataset, config, display.update)


def _transfer(
    text_model: "TextModel", name: str, dataset: "Dataset", judge_data: "Dataset", options: TransferOptions
) -> dict[str, Any]:
    from adavae.model.training.evaluation import evaluate_transfer

    (source_label, target_label), pair = options.labels or ("", ""), options.pair or ("", "")
    return evaluate_transfer(
        text_model,
        name,
        dataset,
        judge_data,
        pair,
        source_label=source_label,
        target_label=target_label,
        limit=options.transfer_limit,
        scale=options.scale,
    )
