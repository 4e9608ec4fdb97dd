"""``adavae decode``: latent vectors to texts."""

from typing import TYPE_CHECKING, Annotated

import typer

from adavae.service import loading
from adavae.service.commands.input import read_vectors
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
def decode(
    decoding: DecodingOptions,
    samples: Annotated[
        int | None, typer.Option("--samples", "-n", min=1, max=100_000, help="Decode this many new draws.")
    ] = None,
    adapter: AdapterOption = None,
    with_z: WithZOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decode latent vectors: new draws, or JSON lines on standard input.

    A line is an array of numbers, or an object that has one as `z` or `mu`.
    """
    settings = load_settings()
    chosen = decoding.to_decoding()
    vectors = read_vectors() if samples is None else None
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    records = _decode(text_model, vectors, samples or 0, name, chosen, with_z=with_z)
    Output.of(as_json).write_records(records, [number("index", "#"), column("text")])


def _decode(
    text_model: "TextModel",
    vectors: list[list[float]] | None,
    samples: int,
    name: str,
    decoding: "Decoding",
    *,
    with_z: bool,
) -> list[Record]:
    import torch

    if vectors is None:
        z = text_model.sample_prior(samples, name, decoding.seed)
        decodings = decoding.for_draws(samples)
    else:
        z = torch.tensor(vectors, dtype=torch.float32)
        decodings = decoding.for_rows(len(z))
    records = []
    for index, decoded in enumerate(text_model.decode(z, name, decodings)):
        record: dict[str, object] = {"index": index, "text": decoded.text, "tokens": decoded.num_tokens}
        record["finish_reason"] = decoded.finish_reason
        if with_z:
            record["z"] = decoded.z.tolist()
        records.append(record | {"adapter": text_model.reference_of(name)})
    return records
