"""``adavae analogy``: change one sentence as another one was changed."""

from typing import TYPE_CHECKING, Annotated

import typer

from adavae.service import loading
from adavae.service.commands.input import refuse_empty
from adavae.service.commands.options import (
    AdapterOption,
    DecodingOptions,
    DeviceOption,
    JsonOption,
    WithZOption,
    takes,
)
from adavae.service.commands.terminal import Output, Record, column, number
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.decoding.decoding import Decoding
    from adavae.model.text_model import TextModel


@takes(DecodingOptions, "decoding")
def analogy(
    a: Annotated[str, typer.Argument(help="A text.")],
    b: Annotated[str, typer.Argument(help="The same text, changed.")],
    c: Annotated[str, typer.Argument(help="The text to change likewise.")],
    decoding: DecodingOptions,
    scale: Annotated[float, typer.Option("--scale", help="How far to go: z = z_c + scale * (z_b - z_a).")] = 1.0,
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, max=1000, help="How many answers.")] = 1,
    adapter: AdapterOption = None,
    with_z: WithZOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Analogy: a is to b as c is to the answer."""
    settings = load_settings()
    refuse_empty(a, b, c)
    if samples > 1 and decoding.strategy != "sample":
        raise typer.BadParameter(f"--strategy {decoding.strategy} has one answer only: add --strategy sample")
    chosen = decoding.to_decoding()
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    records = _analogy(text_model, (a, b, c), scale, samples, name, chosen, with_z=with_z)
    Output.of(as_json).write_records(records, [number("index", "#"), column("text")])


def _analogy(
    text_model: "TextModel",
    texts: tuple[str, str, str],
    scale: float,
    samples: int,
    name: str,
    decoding: "Decoding",
    *,
    with_z: bool,
) -> list[Record]:
    decodings = decoding.for_rows(samples)
    records = []
    for index, decoded in enumerate(text_model.analogy(*texts, name, decodings, scale)):
        record: dict[str, object] = {"index": index, "text": decoded.text}
        if with_z:
            record["z"] = decoded.z.tolist()
        records.append(record | {"adapter": text_model.reference_of(name)})
    return records
