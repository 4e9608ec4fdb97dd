"""``adavae decode``: latent vectors to texts."""

from typing import TYPE_CHECKING, Annotated

import typer

from adavae.model.latent.steering import Draw, Steering
from adavae.service import loading
from adavae.service.commands.input import read_vectors
from adavae.service.commands.options import (
    AdapterOption,
    CandidatesOption,
    DecodingOptions,
    DeviceOption,
    JsonOption,
    RefineOption,
    TruncationOption,
    WithZOption,
    steering_of,
    takes,
    usage_errors,
)
from adavae.service.commands.records import decoded_record
from adavae.service.commands.terminal import Output, Record, column, number
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.decoding.decoding import Decoding
    from adavae.model.text_model import TextModel


@takes(DecodingOptions, "decoding")
def decode(
    decoding: DecodingOptions,
    samples: Annotated[
        int | None, typer.Option("--samples", "-n", min=1, max=100_000, help="Decode this many new draws.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Draw texts of this label; with --samples.")] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Above 1 leads further towards the label; with --label.")
    ] = None,
    refine: RefineOption = None,
    truncation: TruncationOption = None,
    candidates: CandidatesOption = None,
    adapter: AdapterOption = None,
    with_z: WithZOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decode latent vectors: new draws, or JSON lines on standard input.

    A line is an array of numbers, or an object that has one as `z` or `mu`.
    """
    settings = load_settings()
    chosen, steering = decoding.to_decoding(), steering_of(refine, truncation, candidates)
    if label is not None and samples is None:
        raise typer.BadParameter("--label has no effect without --samples: add --samples N")
    with usage_errors():
        draw = Draw(label=label, guidance=guidance)
    vectors = read_vectors() if samples is None else None
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    records = _decode(text_model, vectors, samples or 0, name, chosen, draw, steering, with_z=with_z)
    Output.of(as_json).write_records(records, [number("index", "#"), column("text")])


def _decode(
    text_model: "TextModel",
    vectors: list[list[float]] | None,
    samples: int,
    name: str,
    decoding: "Decoding",
    draw: Draw,
    steering: Steering,
    *,
    with_z: bool,
) -> list[Record]:
    import torch

    if vectors is None:
        rows = text_model.sample(samples, name, decoding, draw, steering)
    else:
        z = torch.tensor(vectors, dtype=torch.float32)
        rows = text_model.decode(z, name, decoding.for_rows(len(z)), steering)
    made_by = {"adapter": text_model.reference_of(name)}
    return [decoded_record(index, row, with_z=with_z) | made_by for index, row in enumerate(rows)]
