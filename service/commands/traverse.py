"""``adavae traverse``: what a direction of the latent space does to a text."""

from typing import TYPE_CHECKING, Annotated

import typer

from adavae.model.latent import defaults
from adavae.model.latent.direction import BetweenLabels, BetweenTexts, Dimension, Direction
from adavae.model.latent.steering import Steering
from adavae.service import loading
from adavae.service.commands.input import refuse_empty
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
)
from adavae.service.commands.records import decoded_record
from adavae.service.commands.terminal import Output, Record, column, number
from adavae.service.settings import load_settings

if TYPE_CHECKING:
    from adavae.model.decoding.decoding import Decoding
    from adavae.model.text_model import TextModel


@takes(DecodingOptions, "decoding")
def traverse(
    text: Annotated[str, typer.Argument(help="Where the direction passes through.")],
    decoding: DecodingOptions,
    dimension: Annotated[
        int | None, typer.Option("--dimension", min=0, help="Along this dimension of z, in its standard deviations.")
    ] = None,
    from_label: Annotated[str | None, typer.Option("--from-label", help="From the mean of this label's texts.")] = None,
    to_label: Annotated[str | None, typer.Option("--to-label", help="To the mean of this label's texts.")] = None,
    from_text: Annotated[
        list[str] | None, typer.Option("--from-text", help="From the mean of these texts; may be repeated.")
    ] = None,
    to_text: Annotated[
        list[str] | None, typer.Option("--to-text", help="To the mean of these texts; may be repeated.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=2, max=1000, help="Sentences shown.")] = defaults.NUM_STEPS,
    between: Annotated[
        tuple[float, float] | None,
        typer.Option("--range", metavar="LOW HIGH", help="From where to where, 0 being the text."),
    ] = None,
    refine: RefineOption = None,
    truncation: TruncationOption = None,
    candidates: CandidatesOption = None,
    adapter: AdapterOption = None,
    with_z: WithZOption = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Traverse: sentences along a dimension, or along the difference of two labels or of texts."""
    settings = load_settings()
    refuse_empty(text, *(from_text or []), *(to_text or []))
    direction = _direction(dimension, (from_label, to_label), (from_text, to_text))
    chosen, steering = decoding.to_decoding(), steering_of(refine, truncation, candidates)
    name = adapter or settings.default_adapter
    text_model = loading.load_text_model(settings, [name], device)
    records = _traverse(text_model, text, direction, steps, between, name, chosen, steering, with_z=with_z)
    Output.of(as_json).write_records(records, [number("at", decimals=2), column("text")])


def _direction(
    dimension: int | None, labels: tuple[str | None, str | None], texts: tuple[list[str] | None, list[str] | None]
) -> Direction:
    """The direction that was named; raises typer.BadParameter for none, half of one, or several."""
    named: list[Direction] = []
    if dimension is not None:
        named.append(Dimension(dimension))
    if labels[0] is not None and labels[1] is not None:
        named.append(BetweenLabels(labels[0], labels[1]))
    if texts[0] and texts[1]:
        named.append(BetweenTexts(tuple(texts[0]), tuple(texts[1])))
    is_half = (labels[0] is None) != (labels[1] is None) or bool(texts[0]) != bool(texts[1])
    if is_half or len(named) != 1:
        raise typer.BadParameter(
            "give one direction: --dimension N, or --from-label and --to-label, or --from-text and --to-text"
        )
    return named[0]


def _traverse(
    text_model: "TextModel",
    text: str,
    direction: Direction,
    steps: int,
    between: tuple[float, float] | None,
    name: str,
    decoding: "Decoding",
    steering: Steering,
    *,
    with_z: bool,
) -> list[Record]:
    way = text_model.traverse(text, direction, name, decoding, steps, between, steering)
    made_by = {"adapter": text_model.reference_of(name)}
    return [decoded_record(index, step.decoded, with_z=with_z, at=step.at) | made_by for index, step in enumerate(way)]
