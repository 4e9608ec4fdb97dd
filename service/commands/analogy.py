"""``adavae analogy``: change sentences as others were changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adavae.model.latent import defaults
from adavae.model.latent.steering import Steering
from adavae.service import loading
from adavae.service.commands.input import read_file, refuse_empty
from adavae.service.commands.options import (
    AdapterOption,
    CandidatesOption,
    DecodingOptions,
    DeviceOption,
    FocusOption,
    JsonOption,
    RefineOption,
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

_Groups = tuple[list[str], list[str], list[str]]


def _file_option(name: str, what: str) -> typer.models.OptionInfo:
    text = f"{what}, one a line, in place of {name.upper()}."
    option: typer.models.OptionInfo = typer.Option(
        f"--{name}-file", exists=True, dir_okay=False, readable=True, help=text
    )
    return option


@takes(DecodingOptions, "decoding")
def analogy(
    texts: Annotated[
        list[str], typer.Argument(metavar="A B C...", help="A text, the same text changed, and the texts to change.")
    ],
    decoding: DecodingOptions,
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
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Analogy: a is to b as c is to the answer; any number of c."""
    settings = load_settings()
    groups = _groups(texts, a_file, b_file, c_file)
    if samples > 1 and decoding.strategy != "sample":
        raise typer.BadParameter(f"--strategy {decoding.strategy} has one answer only: add --strategy sample")
    chosen, steering = decoding.to_decoding(), steering_of(refine, truncation, candidates, focus)
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    records = _analogy(text_model, groups, scale, samples, name, chosen, steering, with_z=with_z)
    Output.of(as_json).write_records(records, [number("index", "#"), column("text")])


def _groups(texts: list[str], *files: Path | None) -> _Groups:
    """The texts of a, b and c: from their files, and otherwise from the arguments, in that order."""
    refuse_empty(*texts)
    rest = list(texts)
    a, b = (read_file(file) if file is not None else [rest.pop(0)] if rest else [] for file in files[:2])
    c = rest if files[2] is None else read_file(files[2])
    if files[2] is not None and rest:
        raise typer.BadParameter("C is given twice: leave out --c-file, or the texts")
    if not (a and b and c):
        raise typer.BadParameter("give A, B and at least one C, as texts or as --a-file, --b-file and --c-file")
    return a, b, c


def _analogy(
    text_model: "TextModel",
    groups: _Groups,
    scale: float,
    samples: int,
    name: str,
    decoding: "Decoding",
    steering: Steering,
    *,
    with_z: bool,
) -> list[Record]:
    rows = text_model.analogy(*groups, name, decoding.for_rows(samples), scale, steering)
    made_by = {"adapter": text_model.reference_of(name)}
    return [decoded_record(index, row, with_z=with_z, c=index // samples) | made_by for index, row in enumerate(rows)]
