"""``adavae encode``: texts to latent vectors."""

from typing import TYPE_CHECKING, Annotated

import typer

from adavae.service import loading
from adavae.service.commands.input import FileOption, TextsArgument, read_texts
from adavae.service.commands.options import AdapterOption, DeviceOption, JsonOption, TextColumnOption, TruncateOption
from adavae.service.commands.terminal import Output, Record, column, number, vector
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.text_model import TextModel


def encode(
    texts: TextsArgument = None,
    file: FileOption = None,
    text_column: TextColumnOption = None,
    adapter: AdapterOption = None,
    truncate: TruncateOption = False,
    with_logvar: Annotated[bool, typer.Option("--with-logvar", help="Put the log variance into the JSON.")] = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encode texts: mu of each one's posterior.

    The output of this command is valid input of `adavae decode`.
    """
    settings = load_settings()
    lines = read_texts(texts, file, text_column)
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    records = _encode(text_model, lines, name, truncate=truncate, with_logvar=with_logvar)
    shown = [number("index", "#"), column("text"), number("tokens"), vector("mu")]
    Output.of(as_json).write_records(records, shown)


def _encode(text_model: "TextModel", texts: list[str], name: str, *, truncate: bool, with_logvar: bool) -> list[Record]:
    encoded = text_model.encode(texts, name, truncate=truncate)
    mu, logvar = encoded.mu.tolist(), encoded.logvar.tolist()
    records = []
    for index, text in enumerate(texts):
        record: dict[str, object] = {"index": index, "text": text, "mu": mu[index]}
        if with_logvar:
            record["logvar"] = logvar[index]
        record |= {"tokens": encoded.num_tokens[index], "truncated": encoded.is_truncated[index]}
        records.append(record | {"adapter": text_model.reference_of(name)})
    return records
