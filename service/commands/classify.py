"""``adavae classify``: labels for texts."""

from typing import TYPE_CHECKING, Annotated

import typer

from adavae.service import loading
from adavae.service.commands.input import FileOption, TextsArgument, read_texts
from adavae.service.commands.options import AdapterOption, DeviceOption, JsonOption, TextColumnOption, TruncateOption
from adavae.service.commands.terminal import Column, Output, Record, column
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.text_model import TextModel


def classify(
    texts: TextsArgument = None,
    file: FileOption = None,
    text_column: TextColumnOption = None,
    adapter: AdapterOption = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="Give the k most probable labels; all if left out.")
    ] = None,
    truncate: TruncateOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classify texts with the adapter set's own head."""
    settings = load_settings()
    lines = read_texts(texts, file, text_column)
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    records = _classify(text_model, lines, name, top_k, truncate=truncate)
    Output.of(as_json).write_records(records, [column("label"), Column("score", _best_score, True), column("text")])


def _classify(
    text_model: "TextModel", texts: list[str], name: str, top_k: int | None, *, truncate: bool
) -> list[Record]:
    reference = text_model.reference_of(name)
    verdicts = text_model.classify(texts, name, truncate=truncate)
    return [
        {
            "index": index,
            "text": text,
            "label": verdict.label,
            "scores": [{"label": label, "score": score} for label, score in list(verdict.scores.items())[:top_k]],
            "adapter": reference,
        }
        for index, (text, verdict) in enumerate(zip(texts, verdicts, strict=True))
    ]


def _best_score(record: Record) -> str:
    scores = record["scores"]
    return f"{scores[0]['score']:.3f}" if isinstance(scores, list) else ""
