"""POST /classify on the wire."""

from typing import Annotated

from pydantic import ConfigDict, Field

from adavae.service.schemas.reply import ListReply, Reply
from adavae.service.schemas.texts import ONE_OF_TEXT_AND_TEXTS, EncodeUsage, TextsBody


class ClassifyBody(TextsBody):
    model_config = ConfigDict(
        json_schema_extra=ONE_OF_TEXT_AND_TEXTS
        | {"examples": [{"texts": ["the food was great.", "my room was dirty."], "adapter": "yelp", "top_k": 1}]}
    )

    top_k: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None, description="The k most probable labels; all if left out."
    )


class LabelScore(Reply):
    label: str
    score: float


class ClassifyRow(Reply):
    index: int
    label: str
    scores: list[LabelScore] = Field(description="Highest first.")
    tokens: int
    cached: bool


class ClassifyReply(ListReply):
    data: list[ClassifyRow]
    usage: EncodeUsage
