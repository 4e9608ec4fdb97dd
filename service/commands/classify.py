"""``adavae classify``: labels for texts."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adavae.model.training.readers.columns import Columns
from adavae.service import loading
from adavae.service.commands.input import FileOption, PairOption, TextsArgument, open_pairs
from adavae.service.commands.options import (
    AdapterOption,
    DeviceOption,
    JsonOption,
    OutputOption,
    PairColumnOption,
    ResumeOption,
    TextColumnOption,
    TruncateOption,
)
from adavae.service.commands.part_options import shaping
from adavae.service.commands.row_files import Forms
from adavae.service.commands.row_stream import Destination
from adavae.service.commands.source import numbered
from adavae.service.commands.terminal import Column, Output, Record, column, say
from adavae.service.commands.too_long import told_by_number
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.text_model import TextModel


def classify(
    texts: TextsArgument = None,
    pair: PairOption = None,
    file: FileOption = None,
    text_column: TextColumnOption = None,
    pair_column: PairColumnOption = None,
    adapter: AdapterOption = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="Give the k most probable labels; all if left out.")
    ] = None,
    truncate: TruncateOption = False,
    output: OutputOption = None,
    resume: ResumeOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify texts with the adapter set's own head.

    A table in `--output` has a column of scores for each label; .npy holds these columns alone.
    """
    settings = load_settings()
    labels: list[str] = []
    forms = Forms(array=lambda record: _scores(record, labels), cells=lambda record: _cells(record, labels))
    shown = [column("label"), Column("score", _best_score, True), column("text")]
    options = shaping("classify", text_column=text_column, pair_column=pair_column, truncate=truncate, top_k=top_k)
    destination = Destination(output, resume, options, Output.of(as_json), shown, forms, read=(file,))
    if top_k is not None and output is not None and output.suffix.lower() == ".npy":
        raise typer.BadParameter("--top-k leaves out scores that .npy has columns for: leave one of them out")
    source = open_pairs(texts, pair, file, Columns(text_column, pair=pair_column))
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    labels += text_model.config_of(name).labels
    if output is not None and output.suffix.lower() == ".npy":
        say(f"the columns are {', '.join(labels)}")
    with destination.open(text_model.reference_of(name)) as rows:
        rest = rows.remaining(source, text_of=str)
        parts = (
            _classify(text_model, batch, start, name, top_k, truncate=truncate)
            for start, batch in numbered(rest.batches, rows.num_rows)
        )
        rows.take(parts, "classify", source.total)


def _classify(
    text_model: "TextModel", texts: list[str], start: int, name: str, top_k: int | None, *, truncate: bool
) -> list[Record]:
    reference = text_model.reference_of(name)
    with told_by_number(text_model, texts, start):
        verdicts = text_model.classify(texts, name, truncate=truncate)
    return [
        {
            "index": index,
            "text": text,
            "label": verdict.label,
            "scores": [{"label": label, "score": score} for label, score in list(verdict.scores.items())[:top_k]],
            "adapter": reference,
        }
        for index, (text, verdict) in enumerate(zip(texts, verdicts, strict=True), start=start)
    ]


def _by_label(record: Record) -> dict[str, float]:
    scores: Any = record["scores"]
    return {each["label"]: each["score"] for each in scores}


def _best_score(record: Record) -> str:
    return f"{next(iter(_by_label(record).values())):.3f}"


def _scores(record: Record, labels: list[str]) -> list[float]:
    own = _by_label(record)
    return [own[label] for label in labels]


def _cells(record: Record, labels: list[str]) -> Record:
    own = _by_label(record)
    cells = {name: value for name, value in record.items() if name not in ("scores", "adapter")}
    scores = {f"score_{label}": own.get(label, "") for label in labels}
    return {**cells, "score": own[str(record["label"])], **scores, "adapter": record["adapter"]}
