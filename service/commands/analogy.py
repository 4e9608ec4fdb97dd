"""``adavae analogy``: change sentences as others were changed."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from adavae.model.latent import defaults
from adavae.service import loading
from adavae.service.commands.input import open_file, open_lines, read_file, refuse_empty
from adavae.service.commands.options import (
    AdapterOption,
    CandidatesOption,
    DecodingOptions,
    DeviceOption,
    FocusOption,
    JsonOption,
    OutputOption,
    RefineOption,
    ResumeOption,
    TruncationOption,
    WithZOption,
    steering_of,
    takes,
)
from adavae.service.commands.part_options import shaping
from adavae.service.commands.records import decoded_record, numbers_of
from adavae.service.commands.row_files import Forms
from adavae.service.commands.row_stream import Destination
from adavae.service.commands.source import Source, numbered
from adavae.service.commands.terminal import Output, Record, column, number
from adavae.service.commands.too_long import told_by_number
from adavae.service.settings import load_settings

_LEAST_BATCH, _SHARE = 128, 8


def _file_option(name: str, what: str) -> typer.models.OptionInfo:
    text = f"{what}, one a line, in place of {name.upper()}."
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}-file", exists=True, dir_okay=False, readable=True, help=text
    )
    return option


@takes(DecodingOptions, "decoding")
def analogy(
    decoding: DecodingOptions,
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="[A] [B] [C]...", help="A text, the same text changed, and the texts to change."),
    ] = None,
    a_file: Annotated[Path | None, _file_option("a", "Texts, of which the mean counts")] = None,
    b_file: Annotated[Path | None, _file_option("b", "Changed texts, of which the mean counts")] = None,
    c_file: Annotated[Path | None, _file_option("c", "Texts to change")] = None,
    scale: Annotated[
        float, typer.Option("--scale", help="How far to go: z = z_c + scale * (z_b - z_a).")
    ] = defaults.SCALE,
    samples: Annotated[int, typer.Option("--samples", "-n", min=1, max=1000, help="How many answers for each c.")] = 1,
    refine: RefineOption = None,
    truncation: TruncationOption = None,
    candidates: CandidatesOption = None,
    focus: FocusOption = None,
    adapter: AdapterOption = None,
    with_z: WithZOption = False,
    output: OutputOption = None,
    resume: ResumeOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Analogy: a is to b as c is to the answer; any number of c, which '-' reads from standard input, one a line.

    An `--output` that ends in .npy holds z alone.
    """
    settings = load_settings()
    if samples > 1 and decoding.strategy != "sample":
        raise typer.BadParameter(f"--strategy {decoding.strategy} has one answer only: add --strategy sample")
    chosen, steering = decoding.to_decoding(), steering_of(refine, truncation, candidates, focus)
    with_z = with_z or (output is not None and output.suffix.lower() == ".npy")
    shown = [number("index", "#"), column("text")]
    forms = Forms(array=lambda record: numbers_of(record, "z"))
    a, b, c = _groups(texts or [], a_file, b_file, c_file)
    options = shaping(
        "analogy", **asdict(decoding), **asdict(steering), scale=scale, samples=samples, with_z=with_z
    ) | {"texts A": _digest(a), "texts B": _digest(b)}
    destination = Destination(
        output, resume, options, Output.of(as_json), shown, forms, samples, (a_file, b_file, c_file)
    )
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    reference = text_model.reference_of(name)
    with destination.open(reference) as rows:
        rest = rows.remaining(c, group=samples)
        made_by = {"adapter": reference}

        def changed(place: int, batch: list[str]) -> list[Record]:
            with told_by_number(text_model, batch, place, called="c[{}]", remedy="shorten it"):
                texts = text_model.analogy(a, b, batch, name, chosen.for_rows(samples), scale, steering)
            return [
                decoded_record(index, text, with_z=with_z, c=index // samples) | made_by
                for index, text in enumerate(texts, place * samples)
            ]

        parts = (changed(place, batch) for place, batch in numbered(rest.batches, rows.num_rows // samples))
        rows.take(parts, "analogy", None if c.total is None else c.total * samples)


def _digest(texts: list[str]) -> str:
    """Tells lists of texts apart."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _groups(texts: list[str], *files: Path | None) -> tuple[list[str], list[str], Source[str]]:
    """The texts of a, b and c: from their files, and otherwise from the arguments, in that order."""
    refuse_empty(*texts)
    rest = list(texts)
    a, b = (read_file(file) if file is not None else [rest.pop(0)] if rest else [] for file in files[:2])
    if files[2] is not None and rest:
        raise typer.BadParameter("C is given twice: leave out --c-file, or the texts")
    if not (a and b and (rest or files[2])):
        raise typer.BadParameter("give A, B and at least one C, as texts or as --a-file, --b-file and --c-file")
    size = max(_LEAST_BATCH, _SHARE * (len(a) + len(b)))  # A and B are encoded for every batch
    if files[2] is not None:
        return a, b, open_file(files[2], size=size)
    return a, b, open_lines(size) if rest == ["-"] else Source.of(rest, len(rest), size)
