"""``adavae interpolate``: the sentences between two sentences."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adavae.model.latent.steering import Steering
from adavae.service import loading
from adavae.service.commands.input import refuse_empty
from adavae.service.commands.options import (
    AdapterOption,
    CandidatesOption,
    DecodingOptions,
    DepthOption,
    DeviceOption,
    JsonOption,
    RefineOption,
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

Method = Literal["linear", "spherical"]


@takes(DecodingOptions, "decoding")
def interpolate(
    source: Annotated[str, typer.Argument(help="The first text.")],
    target: Annotated[str, typer.Argument(help="The last text.")],
    decoding: DecodingOptions,
    steps: Annotated[int, typer.Option("--steps", min=2, max=1000, help="Sentences shown, both ends included.")] = 11,
    method: Annotated[Method, typer.Option("--method", help="The way through the latent space.")] = "linear",
    refine: RefineOption = None,
    truncation: DepthOption = None,
    candidates: CandidatesOption = None,
    adapter: AdapterOption = None,
    with_z: WithZOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Interpolate: decode evenly spaced points between the encodings of two texts."""
    settings = load_settings()
    refuse_empty(source, target)
    chosen, steering = decoding.to_decoding(), steering_of(refine, truncation, candidates)
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    records = _interpolate(text_model, (source, target), steps, method, name, chosen, steering, with_z=with_z)
    Output.of(as_json).write_records(records, [number("tau", decimals=2), column("text")])


def _interpolate(
    text_model: "TextModel",
    ends: tuple[str, str],
    steps: int,
    method: Method,
    name: str,
    decoding: "Decoding",
    steering: Steering,
    *,
    with_z: bool,
) -> list[Record]:
    from adavae.model.config import Interpolation

    way = text_model.interpolate(*ends, steps, name, decoding, Interpolation(method), steering)
    made_by = {"adapter": text_model.reference_of(name)}
    return [
        decoded_record(index, step.decoded, with_z=with_z, tau=step.tau) | made_by for index, step in enumerate(way)
    ]
