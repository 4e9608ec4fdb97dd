"""``adavae variations``: other sentences near a text."""

from typing import TYPE_CHECKING, Annotated

import typer

from adavae.model.latent import defaults
from adavae.model.latent.steering import Steering
from adavae.model.training.readers.columns import Columns
from adavae.service import loading
from adavae.service.commands.input import FileOption, TextsArgument, read_texts
from adavae.service.commands.options import (
    AdapterOption,
    DecodingOptions,
    DeviceOption,
    JsonOption,
    RefineOption,
    TextColumnOption,
    TruncationOption,
    WithZOption,
    steering_of,
    takes,
)
from adavae.service.commands.records import decoded_record
from adavae.service.commands.terminal import Output, Record, column, number
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.decoding.decoding import Decoding
    from adavae.model.text_model import TextModel


@takes(DecodingOptions, "decoding")
def variations(
    decoding: DecodingOptions,
    texts: TextsArgument = None,
    file: FileOption = None,
    text_column: TextColumnOption = None,
    num: Annotated[
        int, typer.Option("--num", "-n", min=1, max=1000, help="Different sentences for each text.")
    ] = defaults.NUM_VARIATIONS,
    distance: Annotated[
        float, typer.Option("--distance", help="How far from the text, in widths of the posterior.")
    ] = defaults.DISTANCE,
    refine: RefineOption = None,
    truncation: TruncationOption = None,
    adapter: AdapterOption = None,
    with_z: WithZOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Variations: different sentences near each text, none equal to it."""
    settings = load_settings()
    chosen, steering = decoding.to_decoding(), steering_of(refine, truncation)
    read = read_texts(texts, file, Columns(text_column))
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    records = _variations(text_model, read, num, distance, name, chosen, steering, with_z=with_z)
    Output.of(as_json).write_records(records, [number("source"), column("text")])


def _variations(
    text_model: "TextModel",
    texts: list[str],
    num: int,
    distance: float,
    name: str,
    decoding: "Decoding",
    steering: Steering,
    *,
    with_z: bool,
) -> list[Record]:
    found = text_model.variations(texts, name, decoding, num, distance, steering)
    rows = [(source, row) for source, near in enumerate(found) for row in near]
    made_by = {"adapter": text_model.reference_of(name)}
    return [
        decoded_record(index, row, with_z=with_z, source=source) | made_by for index, (source, row) in enumerate(rows)
    ]
