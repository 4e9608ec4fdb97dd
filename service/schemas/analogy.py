"""POST /analogy on the wire."""

from pydantic import ConfigDict, Field

from adavae.model.latent import defaults
from adavae.model.latent.steering import Steering
from adavae.service.schemas.body import Body
from adavae.service.schemas.decoding import DecodeUsage, DecodingBody
from adavae.service.schemas.fields import AdapterName, IncludeZ, TextOrTexts, ZFormat
from adavae.service.schemas.reply import ListReply
from adavae.service.schemas.steering import Candidates, Focus, LatentRow, Refine, Truncation


class AnalogyBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "a": "bad food, bad service, never again!",
                    "b": "great food, great service, love it!",
                    "c": "the staff was rude and the food was cold.",
                    "adapter": "yelp",
                },
                {
                    "a": ["the food was terrible.", "i will never come back here."],
                    "b": ["the food was delicious.", "i will definitely come back here."],
                    "c": ["the staff was rude.", "my room was dirty and the bed was hard."],
                    "adapter": "yelp",
                },
            ]
        }
    )

    a: TextOrTexts = Field(description="A text, or several, of which the mean counts; at most ADAVAE_MAX_TEXTS (256).")
    b: TextOrTexts = Field(description="The same text, changed; or several, of which the mean counts.")
    c: TextOrTexts = Field(description="The text to change likewise; or several, each of which is changed.")
    scale: float = Field(default=defaults.SCALE, description="How far to go: z = z_c + scale * (mean z_b - mean z_a).")
    samples: int = Field(default=1, ge=1, description="How many answers for each c; at most ADAVAE_MAX_SAMPLES (64).")
    refine: Refine = None
    truncation: Truncation = None
    candidates: Candidates = None
    focus: Focus = None
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = Field(default=[])
    encoding_format: ZFormat = "float"

    @property
    def steering(self) -> Steering:
        return Steering(refine=self.refine, truncation=self.truncation, candidates=self.candidates, focus=self.focus)


class AnalogyRow(LatentRow):
    c: int = Field(description="Number of the text in `c` that this answers.")


class AnalogyReply(ListReply):
    data: list[AnalogyRow]
    usage: DecodeUsage
