"""POST /interpolate on the wire."""

from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from adavae.model.config import Interpolation
from adavae.model.latent import defaults
from adavae.model.latent.steering import Steering
from adavae.service.schemas.body import Body
from adavae.service.schemas.decoding import DecodeUsage, DecodingBody
from adavae.service.schemas.fields import AdapterName, IncludeZ, TextOrTexts, ZFormat
from adavae.service.schemas.reply import ListReply
from adavae.service.schemas.steering import Candidates, Depth, LatentRow, Refine


class InterpolateBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "the food was terrible and the staff was rude.",
                    "target": "great place, we will be back!",
                    "steps": 7,
                    "adapter": "yelp",
                },
                {
                    "source": ["the food was terrible.", "my room was dirty."],
                    "target": ["great place, we will be back!", "the staff was friendly."],
                    "adapter": "yelp",
                },
            ]
        }
    )

    source: TextOrTexts = Field(
        description="The first sentence's text; or several, each of which goes to its own target; at most "
        "ADAVAE_MAX_TEXTS (256)."
    )
    target: TextOrTexts = Field(description="The last sentence's text; or one for each source.")
    steps: int = Field(
        default=defaults.NUM_STEPS,
        ge=2,
        description="Sentences returned, both ends included; at most ADAVAE_MAX_STEPS (64).",
    )
    method: Literal["linear", "spherical"] = Field(default="linear", description="Along the line, or along the arc.")
    refine: Refine = None
    truncation: Depth = None
    candidates: Candidates = None
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = Field(default=[])
    encoding_format: ZFormat = "float"

    @model_validator(mode="after")
    def _one_target_a_source(self) -> Self:
        if isinstance(self.source, str) is not isinstance(self.target, str):
            raise _no_pairs("must be as source is: give both as one text, or both as lists")
        if len(self.source) != len(self.target) and isinstance(self.source, list):
            counts = f"has {len(self.target)} entries and source {len(self.source)}"
            raise _no_pairs(f"{counts}: give one target for each source")
        return self

    @property
    def num_walks(self) -> int:
        return 1 if isinstance(self.source, str) else len(self.source)

    @property
    def interpolation(self) -> Interpolation:
        return Interpolation(self.method)

    @property
    def steering(self) -> Steering:
        return Steering(refine=self.refine, truncation=self.truncation, candidates=self.candidates)


def _no_pairs(message: str) -> PydanticCustomError:
    return PydanticCustomError("one_target_a_source", "{message}", {"field": "target", "message": message})


class InterpolateRow(LatentRow):
    pair: int = Field(description="Number of the source and target whose walk this is of.")
    tau: float


class InterpolateReply(ListReply):
    data: list[InterpolateRow]
    usage: DecodeUsage
