"""POST /analogy on the wire."""

from pydantic import ConfigDict, Field

from adavae.service.schemas.body import Body
from adavae.service.schemas.decoding import DecodeRow, DecodeUsage, DecodingBody
from adavae.service.schemas.fields import AdapterName, IncludeZ, Text
from adavae.service.schemas.reply import ListReply


class AnalogyBody(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "a": "bad food, bad service, never again!",
                    "b": "great food, great service, love it!",
                    "c": "the staff was rude and the food was cold.",
                    "adapter": "yelp",
                }
            ]
        }
    )

    a: Text = Field(description="A text.")
    b: Text = Field(description="The same text, changed.")
    c: Text = Field(description="The text to change likewise.")
    scale: float = Field(default=1.0, description="How far to go: z = z_c + scale * (z_b - z_a).")
    samples: int = Field(default=1, ge=1, description="How many answers; at most ADAVAE_MAX_SAMPLES (64).")
    adapter: AdapterName | None = None
    decoding: DecodingBody = DecodingBody()
    include: IncludeZ = Field(default=[])


class AnalogyRow(DecodeRow):
    z: list[float] | None = Field(default=None, description="(Z,); only where asked for.")


class AnalogyReply(ListReply):
    data: list[AnalogyRow]
    usage: DecodeUsage
