"""POST /traverse on the wire."""

from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from adavae.model.latent import defaults
from adavae.model.latent.direction import BetweenLabels, BetweenTexts, Dimension, Direction
from adavae.model.latent.steering import Steering
from adavae.service.schemas.body import Body
from adavae.service.schemas.decoding import DecodeUsage, DecodingBody
from adavae.service.schemas.entries import at_most
from adavae.service.schemas.fields import AdapterName, IncludeZ, Label, ManyTexts, Text, ZFormat
from adavae.service.schemas.reply import ListReply
from adavae.service.schemas.steering import Candidates, LatentRow, Refine, Truncation

_FARTHEST = 100.0


class DimensionBody(Body):
    """Along one dimension of z, in its standard deviations."""

    dimension: int = Field(ge=0, description="Number of the dimension, below the adapter set's `latent_size`.")

    @property
    def direction(self) -> Direction:
        return Dimension(self.dimension)


class LabelsBody(Body):
    """From the mean of one label's texts to that of another's, in whole differences."""

    source: Label = Field(alias="from", description="One of the adapter set's `labels`.")
    target: Label = Field(alias="to", description="Another one.")

    @property
    def direction(self) -> Direction:
        return BetweenLabels(self.source, self.target)


class ExamplesBody(Body):
    """From the mean of some texts to that of others, in whole differences."""

    source: ManyTexts = Field(alias="from", description="Texts; at most ADAVAE_MAX_TEXTS (256).")
    target: ManyTexts = Field(alias="to", description="Other texts.")

    @property
    def direction(self) -> Direction:
        return BetweenTexts(tuple(self.source), tuple(self.target))


def _kind(given: Any) -> str:
    """Which of the three a direction is meant to be."""
    if not isinstance(given, dict) or "dimension" in given:
        return "<dimension>"
    return "<texts>" if isinstance(given.get("from", given.get("to")), list) else "<labels>"


DirectionBody = Annotated[
    Annotated[DimensionBody, Tag("<dimension>")]
    | Annotated[LabelsBody, Tag("<labels>")]
    | Annotated[ExamplesBody, Tag("<texts>")],
    Discriminator(_kind),
]


class TraverseBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "text": "the food was terrible and the staff was rude.",
                    "direction": {"from": ["the food was terrible."], "to": ["the food was delicious."]},
                    "steps": 5,
                    "range": [0, 1.5],
                    "adapter": "yelp",
                },
                {"text": "the food was great.", "direction": {"dimension": 3}, "adapter": "yelp"},
            ]
        }
    )

    text: Text = Field(description="Where the direction passes through.")
    direction: DirectionBody = Field(description="A dimension, two labels, or two lists of texts.")
    steps: int = Field(
        default=defaults.NUM_STEPS, ge=2, description="Sentences returned; at most ADAVAE_MAX_STEPS (64)."
    )
    range: (
        Annotated[
            list[Annotated[float, Field(ge=-_FARTHEST, le=_FARTHEST)]],
            Field(min_length=2, fail_fast=True),
            *at_most(2),
        ]
        | None
    ) = Field(
        default=None,
        description="From where to where, in lengths of the direction, 0 being the text: [-2, 2] along a dimension and "
        "[-1, 1] along a difference if left out.",
    )
    refine: Refine = None
    truncation: Truncation = None
    candidates: Candidates = None
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = Field(default=[])
    encoding_format: ZFormat = "float"

    @model_validator(mode="after")
    def _rising(self) -> "TraverseBody":
        if self.range is not None and not self.range[0] < self.range[1]:
            raise PydanticCustomError("range", "the first number must be below the second", {"field": "range"})
        return self

    @property
    def between(self) -> tuple[float, float] | None:
        return None if self.range is None else (float(self.range[0]), float(self.range[1]))

    @property
    def steering(self) -> Steering:
        return Steering(refine=self.refine, truncation=self.truncation, candidates=self.candidates)


class TraverseRow(LatentRow):
    at: float = Field(description="Place along the direction, in its lengths; 0 is the text.")


class TraverseReply(ListReply):
    data: list[TraverseRow]
    usage: DecodeUsage
