"""``adavae encode``: texts to latent vectors."""

from typing import TYPE_CHECKING, Annotated

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
from adavae.service.commands.records import numbers_of
from adavae.service.commands.row_files import Forms
from adavae.service.commands.row_stream import Destination
from adavae.service.commands.source import numbered
from adavae.service.commands.terminal import Output, Record, column, number, vector
from adavae.service.commands.too_long import told_by_number
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.text_model import TextModel


def encode(
    texts: TextsArgument = None,
    pair: PairOption = None,
    file: FileOption = None,
    text_column: TextColumnOption = None,
    pair_column: PairColumnOption = None,
    adapter: AdapterOption = None,
    truncate: TruncateOption = False,
    with_logvar: Annotated[bool, typer.Option("--with-logvar", help="Put the log variance into the JSON.")] = False,
    output: OutputOption = None,
    resume: ResumeOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encode texts: mu of each one's posterior.

    The output of this command is valid input of `adavae decode`. An `--output` that ends in .npy holds mu alone, a row
    a text.
    """
    settings = load_settings()
    columns = [number("index", "#"), column("text"), number("tokens"), vector("mu")]
    forms = Forms(array=lambda record: numbers_of(record, "mu"))
    options = shaping(
        "encode", text_column=text_column, pair_column=pair_column, truncate=truncate, with_logvar=with_logvar
    )
    destination = Destination(output, resume, options, Output.of(as_json), columns, forms, read=(file,))
    source = open_pairs(texts, pair, file, Columns(text_column, pair=pair_column))
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    with destination.open(text_model.reference_of(name)) as rows:
        rest = rows.remaining(source, text_of=str)
        parts = (
            _encode(text_model, batch, start, name, truncate=truncate, with_logvar=with_logvar)
            for start, batch in numbered(rest.batches, rows.num_rows)
        )
        rows.take(parts, "encode", source.total)


def _encode(
    text_model: "TextModel", texts: list[str], start: int, name: str, *, truncate: bool, with_logvar: bool
) -> list[Record]:
    with told_by_number(text_model, texts, start):
        encoded = text_model.encode(texts, name, truncate=truncate)
    mu, logvar = encoded.mu.tolist(), encoded.logvar.tolist()
    records = []
    for place, text in enumerate(texts):
        record: Record = {"index": start + place, "text": text, "mu": mu[place]}
        if with_logvar:
            record["logvar"] = logvar[place]
        record |= {"tokens": encoded.num_tokens[place], "truncated": encoded.is_truncated[place]}
        records.append(record | {"adapter": text_model.reference_of(name)})
    return records
