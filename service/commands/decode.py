"""``adavae decode``: latent vectors to texts."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adavae.model.latent.steering import Draw, Steering
from adavae.service import loading
from adavae.service.commands.input import Vector, open_vectors
from adavae.service.commands.options import (
    AdapterOption,
    CandidatesOption,
    DecodingOptions,
    DeviceOption,
    JsonOption,
    OutputOption,
    RefineOption,
    ResumeOption,
    TruncationOption,
    WithZOption,
    steering_of,
    takes,
    usage_errors,
)
from adavae.service.commands.part_options import shaping
from adavae.service.commands.records import decoded_record, numbers_of
from adavae.service.commands.row_files import Forms
from adavae.service.commands.row_stream import Destination
from adavae.service.commands.source import Source, numbered
from adavae.service.commands.terminal import Output, column, number
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.decoding.decoding import Decoding
    from adavae.model.results import DecodedText
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
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            exists=True,
            dir_okay=False,
            readable=True,
            help="Read vectors from here: .npy, or JSON lines.",
        ),
    ] = None,
    output: OutputOption = None,
    resume: ResumeOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decode latent vectors: new draws, or JSON lines on standard input.

    A line is an array of numbers, or an object that has one as `z` or `mu`. An `--output` that ends in .npy holds z
    alone.
    """
    settings = load_settings()
    chosen, steering = decoding.to_decoding(), steering_of(refine, truncation, candidates)
    if label is not None and samples is None:
        raise typer.BadParameter("--label has no effect without --samples: add --samples N")
    if file is not None and samples is not None:
        raise typer.BadParameter("give --samples, or --file: one of them")
    with usage_errors():
        draw = Draw(label=label, guidance=guidance)
    with_z = with_z or (output is not None and output.suffix.lower() == ".npy")
    shown = [number("index", "#"), column("text")]
    forms = Forms(array=lambda record: numbers_of(record, "z"))
    options = shaping(
        "decode",
        **asdict(decoding),
        **asdict(steering),
        samples=samples,
        label=label,
        guidance=guidance,
        with_z=with_z,
    )
    destination = Destination(output, resume, options, Output.of(as_json), shown, forms, read=(file,))
    vectors = open_vectors(file) if samples is None else None
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    reference = text_model.reference_of(name)
    with destination.open(reference) as rows:
        start, made_by = rows.num_rows, {"adapter": reference}
        if vectors is not None:
            rest = rows.remaining(vectors)
            texts = _decoded(text_model, rest, start, name, chosen, steering)
        else:
            rows.remaining(Source.of(range(samples or 0), samples, samples or 1))
            texts = text_model.sample_in_parts(samples or 0, name, chosen, draw, steering, start=start)
        parts = (
            [decoded_record(index, row, with_z=with_z) | made_by for index, row in enumerate(part, place)]
            for place, part in numbered(texts, start)
        )
        rows.take(parts, "decode", samples if vectors is None else vectors.total)


def _decoded(
    text_model: "TextModel",
    vectors: Source[Vector],
    start: int,
    name: str,
    decoding: "Decoding",
    steering: Steering,
) -> Iterator[list["DecodedText"]]:
    """The texts, batch by batch; that of vector i with the decoding's seed plus i."""
    import torch

    for place, batch in numbered(vectors.batches, start):
        z = torch.tensor(batch, dtype=torch.float32)
        yield text_model.decode(z, name, decoding.for_rows(len(z), start=place), steering)
